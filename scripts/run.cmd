@echo off
rem Builds the server and starts it; Ctrl+C stops it.
rem
rem   scripts\run.cmd [PORT] [OPTIONS...]     --help lists the options
rem
rem Without a port, or with an option first, the port is 9190.

setlocal
pushd "%~dp0.."
cmd /d /c scripts\build.cmd
if errorlevel 1 exit /b 1
popd
set "port=9190"
set "first=%~1"
if defined first if not "%first:~0,1%"=="-" set "port="
set "server=%~dp0..\build\iocp_echo_server.exe"

rem The goto has no target. That ends this file, but cmd still runs the rest
rem of the line. As no batch job is left then, cmd does not ask after Ctrl+C
rem whether to terminate it.
endlocal & goto #none# 2>nul || title %ComSpec% & "%server%" %port% %*
