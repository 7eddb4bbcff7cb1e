/* address.c - IPv4 and IPv6 addresses, as bytes and as text. See address.h. */
#include "address.h"

#include <stdio.h>
#include <string.h>

socklen_t address_size(const SOCKADDR_INET *address)
{
    return address->si_family == AF_INET ? (socklen_t)sizeof address->Ipv4
                                         : (socklen_t)sizeof address->Ipv6;
}

u_short address_text(const SOCKADDR_INET *address, char text[ADDRESS_TEXT])
{
    /* RFC 4291, 2.5.5.2 */
    static const u_char wrap[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255};
    const u_char *bytes = address->Ipv6.sin6_addr.s6_addr;
    SOCKADDR_INET shown = *address;
    char host[ADDRESS_TEXT - 2];

    if (address->si_family == AF_INET6 && memcmp(bytes, wrap, 12) == 0) {
        ZeroMemory(&shown, sizeof shown);
        shown.si_family = AF_INET;
        memcpy(&shown.Ipv4.sin_addr, bytes + 12, 4);
    }
    if (getnameinfo((const SOCKADDR *)&shown, address_size(&shown), host,
                    sizeof host, NULL, 0, NI_NUMERICHOST)
        != 0)
        snprintf(host, sizeof host, "unknown");
    snprintf(text, ADDRESS_TEXT, shown.si_family == AF_INET ? "%s" : "[%s]",
             host);
    return ntohs(address->Ipv4.sin_port);  /* the same place in either */
}
