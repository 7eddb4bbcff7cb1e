@echo off
rem Builds the server and runs the tests.
rem
rem   scripts\test.cmd [ARGUMENTS FOR PYTEST...]

setlocal
set "typed=%~nx0"
set "script=parts\run_tests.py"
"%~dp0script.cmd" %*
