/* Receives for many WebSocket connections and counts; see receiver.py, which builds it, for what the calls mean. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define BUFFER (1 << 20)
#define EVENTS 512
#define MARK "\"at\":\""
#define MARK_LENGTH 6
#define DIGITS 20
#define TAIL 32 /* more than a mark and its digits */

struct connection {
    int fd;
    int sampled;
    uint64_t frames, payload, carry; /* carry: payload bytes that do not fill a unit yet */
    uint64_t left;                   /* of the payload of the frame that is under way */
    uint8_t opcode, final, have, want;
    uint8_t header[10];
    uint8_t control[125];
    uint8_t control_length, tail_length;
    uint8_t tail[TAIL];
};

struct receiver {
    int epoll;
    int count, capacity;
    struct connection *connections;
    uint64_t unit;
    uint64_t total, payload, closed;
    int64_t *latencies;
    uint64_t latency_count, latency_capacity;
    uint8_t buffer[TAIL + BUFFER];
};

static int64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

struct receiver *receiver_new(int capacity, uint64_t latency_capacity)
{
    struct receiver *r = calloc(1, sizeof *r);
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->capacity = capacity;
    r->connections = calloc(capacity, sizeof *r->connections);
    r->latency_capacity = latency_capacity;
    r->latencies = malloc(latency_capacity * sizeof *r->latencies);
    return r;
}

void receiver_free(struct receiver *r)
{
    free(r->latencies);
    free(r->connections);
    free(r);
}

int receiver_epoll(struct receiver *r) { return r->epoll; }

int receiver_add(struct receiver *r, int fd, int sampled)
{
    if (r->count == r->capacity) return -1;
    struct connection *c = &r->connections[r->count];
    memset(c, 0, sizeof *c);
    c->fd = fd;
    c->sampled = sampled;
    c->want = 2;
    return r->count++;
}

int receiver_watch(struct receiver *r, int index, int on)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = index};
    return epoll_ctl(r->epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, r->connections[index].fd, &event);
}

void receiver_reset(struct receiver *r, uint64_t unit)
{
    r->unit = unit;
    r->total = r->payload = 0;
    r->latency_count = 0;
    for (int i = 0; i < r->count; i++) r->connections[i].frames = r->connections[i].payload = r->connections[i].carry = 0;
}

uint64_t receiver_total(struct receiver *r) { return r->total; }
uint64_t receiver_payload(struct receiver *r) { return r->payload; }
uint64_t receiver_closed(struct receiver *r) { return r->closed; }
uint64_t receiver_frames(struct receiver *r, int index) { return r->connections[index].frames; }
uint64_t receiver_latency_count(struct receiver *r) { return r->latency_count; }
int64_t *receiver_latencies(struct receiver *r) { return r->latencies; }

static void pong(struct connection *c)
{
    uint8_t frame[6 + 125] = {0x8A, 0x80 | c->control_length};
    memcpy(frame + 6, c->control, c->control_length);
    send(c->fd, frame, 6 + c->control_length, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Looks for marks in what came, with the end of what came before (of which the buffer has room in front). */
static void sample(struct receiver *r, struct connection *c, uint8_t *data, size_t length)
{
    int64_t received = now();
    uint8_t *start = data - c->tail_length, *end = data + length;
    memcpy(start, c->tail, c->tail_length);
    uint8_t *at = start;
    while ((at = memmem(at, end - at, MARK, MARK_LENGTH)) && end - at >= MARK_LENGTH + DIGITS) {
        int64_t sent = 0;
        for (int i = 0; i < DIGITS; i++) sent = sent * 10 + (at[MARK_LENGTH + i] - '0');
        if (r->latency_count < r->latency_capacity) r->latencies[r->latency_count++] = received - sent;
        start = at += MARK_LENGTH + DIGITS;
    }
    size_t keep = end - start < MARK_LENGTH + DIGITS - 1 ? end - start : MARK_LENGTH + DIGITS - 1;
    memcpy(c->tail, end - keep, keep);
    c->tail_length = keep;
}

static void parse(struct receiver *r, struct connection *c, const uint8_t *data, size_t length)
{
    const uint8_t *end = data + length;
    while (data < end) {
        if (c->have < c->want) {
            c->header[c->have++] = *data++;
            if (c->have == 2) {
                int size = c->header[1] & 0x7F;
                c->want = size == 126 ? 4 : size == 127 ? 10 : 2;
            }
            if (c->have < c->want) continue;
            c->opcode = c->header[0] & 0x0F;
            c->final = c->header[0] >> 7;
            c->control_length = 0;
            if (c->want == 2) c->left = c->header[1] & 0x7F;
            else for (int i = 2, n = c->want; i < n; i++) c->left = (i == 2 ? 0 : c->left << 8) | c->header[i];
        }
        size_t take = (uint64_t)(end - data) < c->left ? (size_t)(end - data) : c->left;
        if (c->opcode >= 8) {
            size_t room = sizeof c->control - c->control_length, copy = take < room ? take : room;
            memcpy(c->control + c->control_length, data, copy);
            c->control_length += copy;
        } else {
            c->payload += take;
            r->payload += take;
            if (r->unit) {
                c->carry += take;
                if (c->carry >= r->unit) {
                    r->total += c->carry / r->unit;
                    c->carry %= r->unit;
                }
            }
        }
        data += take;
        c->left -= take;
        if (c->left) return;
        if (c->opcode == 9) pong(c);
        if (c->opcode < 8 && c->final) {
            c->frames++;
            if (!r->unit) r->total++;
        }
        c->have = 0;
        c->want = 2;
    }
}

static void take(struct receiver *r, struct connection *c, uint8_t *data, size_t length)
{
    if (c->sampled) sample(r, c, data, length);
    parse(r, c, data, length);
}

void receiver_feed(struct receiver *r, int index, const uint8_t *data, size_t length)
{
    uint8_t *copy = r->buffer + TAIL;
    if (length > BUFFER) return;
    memcpy(copy, data, length);
    take(r, &r->connections[index], copy, length);
}

uint64_t receiver_drain(struct receiver *r, uint64_t target, int64_t timeout)
{
    struct epoll_event events[EVENTS];
    int64_t deadline = now() + timeout;
    while (r->total < target) {
        int64_t left = deadline - now();
        if (left < 0) left = 0;
        struct timespec wait = {left / 1000000000, left % 1000000000};
        int ready = epoll_pwait2(r->epoll, events, EVENTS, &wait, NULL);
        if (ready < 0 && errno == EINTR) break; /* Python looks at its signals */
        for (int i = 0; i < ready; i++) {
            struct connection *c = &r->connections[events[i].data.u32];
            ssize_t got = recv(c->fd, r->buffer + TAIL, BUFFER, MSG_DONTWAIT);
            if (got > 0) take(r, c, r->buffer + TAIL, got);
            else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
                epoll_ctl(r->epoll, EPOLL_CTL_DEL, c->fd, NULL);
                r->closed++;
            }
        }
        if (!left) break;
    }
    return r->total;
}
