@echo off
rem Builds the server and runs a Python script. The file that the user typed,
rem such as live.cmd, says which:
rem
rem   set "typed=NAME.cmd"
rem   set "script=NAME.py"
rem   script.cmd [ARGUMENTS...]

setlocal
set "found=py -3 -E"
call :is_python
if not errorlevel 1 goto build
set "found=python -E"
call :is_python
if not errorlevel 1 goto build
>&2 echo %typed%: no Python 3.9 or later; 'winget install Python.Python.3.13'
exit /b 1

:build
pushd "%~dp0.."
cmd /d /c scripts\build.cmd
if errorlevel 1 exit /b 1
popd
set "script=%~dp0%script%"

rem run.cmd explains the goto.
endlocal & goto #none# 2>nul || title %ComSpec% & %found% "%script%" %*
exit /b %errorlevel%

rem Returns status 0 if it runs. Windows without Python also has a python.exe,
rem which only says where to get one.
:is_python
set "test=sys.exit(42 if sys.version_info >= (3, 9) else 1)"
cmd /d /c %found% -c "import sys; %test%" >nul 2>nul
if %errorlevel%==42 exit /b 0
exit /b 1
