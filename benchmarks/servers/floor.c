/* The kernel's floor: `floor PORT` accepts WebSocket clients and sends frames to all of them by one send() each.
 *
 * An order on standard input, `<count> <pad> <at> <room>...`, makes <count> frames and puts them into one buffer; the
 * rooms are ignored. No event is encoded but for its time, nothing is indexed, and a full socket blocks everybody. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#define CLIENTS 65536

static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: x\r\n\r\n";
static int clients[CLIENTS], count;

static char *frame(char *out, int pad, long long at)
{
    char head[64];
    int length = snprintf(head, sizeof head, "{\"data\":{\"at\":\"%020lld\",\"pad\":\"", at);
    int size = length + pad + 3;
    *out++ = (char)0x81;
    if (size < 126) *out++ = (char)size;
    else if (size < 65536) *out++ = 126, *out++ = (char)(size >> 8), *out++ = (char)size;
    else exit(2);
    memcpy(out, head, length);
    memset(out + length, 'x', pad);
    memcpy(out + length + pad, "\"}}", 3);
    return out + size;
}

static void publish(int frames, int pad, long long at)
{
    char *buffer = malloc((size_t)frames * (pad + 128)), *end = buffer;
    for (int i = 0; i < frames; i++) end = frame(end, pad, at);
    for (int i = 0; i < count; i++) {
        if (clients[i] < 0) continue;
        if (send(clients[i], buffer, end - buffer, MSG_NOSIGNAL) < 0) clients[i] = -1;
    }
    free(buffer);
}

int main(int argc, char **argv)
{
    if (argc != 2) return 2;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1])),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 4096)) return perror("listen"), 1;
    int epoll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = 0;
    epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &event);
    static char orders[1 << 16], scratch[1 << 16];
    size_t have = 0;
    for (;;) {
        struct epoll_event events[64];
        int ready = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL);
                if (client < 0) continue;
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                event.data.fd = client;
                epoll_ctl(epoll, EPOLL_CTL_ADD, client, &event);
            } else if (fd) { /* a request, taken to come in one piece; what a client sends later is not read */
                epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL);
                if (recv(fd, scratch, sizeof scratch, 0) <= 0 || count == CLIENTS) close(fd);
                else {
                    send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
                    clients[count++] = fd;
                }
            } else {
                ssize_t got = read(0, orders + have, sizeof orders - 1 - have);
                if (got <= 0) return 0;
                have += got;
                char *line = orders, *end;
                while ((end = memchr(line, '\n', orders + have - line))) {
                    int frames, pad;
                    long long at;
                    *end = 0;
                    if (sscanf(line, "%d %d %lld", &frames, &pad, &at) == 3) publish(frames, pad, at);
                    line = end + 1;
                }
                have -= line - orders;
                memmove(orders, line, have);
            }
        }
    }
}
