/* process.h - see windows.h. */
#pragma once

#include "windows.h"
