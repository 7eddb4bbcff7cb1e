@echo off
rem Builds the server and shows it live in a browser; Ctrl+C stops it.
rem
rem   scripts\live.cmd [PORT] [OPTIONS...]    --help lists the options

setlocal
set "typed=%~nx0"
set "script=live.py"
"%~dp0script.cmd" %*
