/* ws2tcpip.h - see windows.h. */
#pragma once

#include "windows.h"
