@echo off
rem Builds the server and shows a lesson for the class.
rem
rem   scripts\demo.cmd LESSON [OPTIONS...]    --list lists the lessons

setlocal
set "typed=%~nx0"
set "script=demo.py"
"%~dp0script.cmd" %*
