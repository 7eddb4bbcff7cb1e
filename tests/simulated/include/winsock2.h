/* winsock2.h - see windows.h. */
#pragma once

#include "windows.h"
