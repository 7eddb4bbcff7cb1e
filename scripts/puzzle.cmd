@echo off
rem Builds the server; then lists servers broken on purpose, or writes one.
rem
rem   scripts\puzzle.cmd [N] [OPTIONS...]     --help lists the options

setlocal
set "typed=%~nx0"
set "script=puzzle.py"
"%~dp0script.cmd" %*
