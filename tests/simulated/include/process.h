/* process.h - what Wine's C runtime has in process.h, for Linux. */
#pragma once

extern unsigned long _doserrno;
uintptr_t _beginthreadex(void *, unsigned stack, unsigned (*start)(void *),
                         void *argument, unsigned flags, unsigned *id);
