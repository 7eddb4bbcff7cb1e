/* edge.c - the linker puts the server's variables between two of these. */
#define JOIN(a, b) a##b
#define NAME(a, b) JOIN(a, b)

char NAME(data_, EDGE)[64] = {1};
char NAME(bss_, EDGE)[64];
