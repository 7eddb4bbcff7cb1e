@echo off
rem Builds build\iocp_echo_server.exe with the first compiler it finds:
rem Microsoft's, on PATH or where Visual Studio says it is, or MinGW-w64.
rem
rem These files use "if errorlevel" instead of && and ||, which the cmd of
rem Wine 8 takes for &. The tests run under that.

setlocal
pushd "%~dp0.."
rem The package to hand out has no makefile, and the server is there already.
if not exist NMakefile exit /b 0
call :on_path cl.exe
if not errorlevel 1 goto nmake

call :visual_studio
call :on_path cl.exe
if not errorlevel 1 goto nmake

call :on_path gcc.exe
if errorlevel 1 goto no_compiler
call :on_path mingw32-make.exe
if not errorlevel 1 goto mingw32_make
call :on_path make.exe
if not errorlevel 1 goto make

:no_compiler
set "mingw=winget install BrechtSanders.WinLibs.POSIX.UCRT"
set "studio=Visual Studio with Desktop development with C++"
>&2 echo build.cmd: no compiler found; '%mingw%' or install %studio%
exit /b 1

:nmake
rem NMAKE would use this variable as its macro and build elsewhere.
set "DEBUG="
nmake /nologo /f NMakefile
exit /b %errorlevel%

:mingw32_make
mingw32-make
exit /b %errorlevel%

:make
make
exit /b %errorlevel%

rem on_path NAME: status 0 if there is such a program.
:on_path
for %%I in (%1) do if not "%%~$PATH:I"=="" exit /b 0
exit /b 1

rem Sets what a "Developer Command Prompt" sets, if it can. vswhere's directory
rem goes on PATH, because "for" drops the quotes that the directory needs.
rem "-products *" also finds the Build Tools without Visual Studio.
:visual_studio
set "PATH=%PATH%;%ProgramFiles(x86)%\Microsoft Visual Studio\Installer"
call :on_path vswhere.exe
if errorlevel 1 exit /b
set "want=-requires Microsoft.VisualStudio.Component.VC.Tools.x86.x64"
set "find=vswhere.exe -latest -products * %want% -property installationPath"
set "studio="
for /f "usebackq delims=" %%I in (`%find%`) do set "studio=%%I"
if not defined studio exit /b
rem Without this VsDevCmd.bat changes the directory.
set "VSCMD_START_DIR=%CD%"
set "target=-no_logo -arch=amd64 -host_arch=amd64"
call "%studio%\Common7\Tools\VsDevCmd.bat" %target%
exit /b
