/*
 * The length of the lab's WAN: holds every packet of a netfilter queue for a fixed time.
 *
 * Only metadata comes to this program; packets stay in the kernel until their verdict. Packets
 * leave in the order in which they came, also while the delay is being shortened.
 *
 * Usage: wan-delay QUEUE SETTINGS
 * SETTINGS is a file with two numbers, read at start and again on SIGHUP:
 *   delay in microseconds, loss in packets per million (a packet here may be a whole GSO burst)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { HELD_MAX = 1 << 16, RECEIVE_BUFFER = 16 << 20 };

struct held {
    uint32_t id;
    uint64_t due_ns;
};

static struct held held[HELD_MAX];
static unsigned first, count;
static uint64_t delay_ns, loss_ppm;
static volatile sig_atomic_t settings_changed = 1;
static int netlink;
static uint16_t queue;

static void fail(const char *what)
{
    fprintf(stderr, "wan-delay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void on_hangup(int signal)
{
    (void)signal;
    settings_changed = 1;
}

static void read_settings(const char *path)
{
    unsigned long long delay_us, loss;
    FILE *file = fopen(path, "r");
    if (!file)
        fail(path);
    if (fscanf(file, "%llu %llu", &delay_us, &loss) != 2) {
        errno = EINVAL;
        fail(path);
    }
    fclose(file);
    delay_ns = delay_us * 1000;
    loss_ppm = loss;
}

static struct {
    struct nlmsghdr header;
    struct nfgenmsg generic;
    char attributes[64];
} message;

static void start_message(uint8_t type, uint16_t flags)
{
    memset(&message, 0, sizeof message);
    message.header.nlmsg_len = NLMSG_LENGTH(sizeof message.generic);
    message.header.nlmsg_type = NFNL_SUBSYS_QUEUE << 8 | type;
    message.header.nlmsg_flags = NLM_F_REQUEST | flags;
    message.generic.version = NFNETLINK_V0;
    message.generic.res_id = htons(queue);
}

static void add_attribute(uint16_t type, const void *value, size_t size)
{
    struct nlattr *attribute = (void *)((char *)&message + message.header.nlmsg_len);
    attribute->nla_len = NLA_HDRLEN + size;
    attribute->nla_type = type;
    memcpy((char *)attribute + NLA_HDRLEN, value, size);
    message.header.nlmsg_len += NLA_ALIGN(attribute->nla_len);
}

static void send_message(void)
{
    if (send(netlink, &message, message.header.nlmsg_len, 0) < 0)
        fail("sending to netfilter");
}

static void send_configuration(void)
{
    char reply[1024];
    struct nlmsghdr *header = (struct nlmsghdr *)reply;
    send_message();
    if (recv(netlink, reply, sizeof reply, 0) < 0)
        fail("netfilter's answer");
    if (header->nlmsg_type != NLMSG_ERROR)
        return;
    errno = -((struct nlmsgerr *)NLMSG_DATA(header))->error;
    if (errno)
        fail("configuring the queue");
}

static void bind_queue(void)
{
    int size = RECEIVE_BUFFER, on = 1;
    netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (netlink < 0)
        fail("netlink socket");
    setsockopt(netlink, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    setsockopt(netlink, SOL_NETLINK, NETLINK_NO_ENOBUFS, &on, sizeof on);

    struct nfqnl_msg_config_cmd bind = {.command = NFQNL_CFG_CMD_BIND};
    start_message(NFQNL_MSG_CONFIG, NLM_F_ACK);
    add_attribute(NFQA_CFG_CMD, &bind, sizeof bind);
    send_configuration();

    struct nfqnl_msg_config_params metadata = {.copy_mode = NFQNL_COPY_META};
    uint32_t length = htonl(HELD_MAX), whole_bursts = htonl(NFQA_CFG_F_GSO);
    start_message(NFQNL_MSG_CONFIG, NLM_F_ACK);
    add_attribute(NFQA_CFG_PARAMS, &metadata, sizeof metadata);
    add_attribute(NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length);
    add_attribute(NFQA_CFG_FLAGS, &whole_bursts, sizeof whole_bursts);
    add_attribute(NFQA_CFG_MASK, &whole_bursts, sizeof whole_bursts);
    send_configuration();
}

static void send_verdict(uint8_t type, uint32_t id, uint32_t verdict)
{
    struct nfqnl_msg_verdict_hdr header = {.verdict = htonl(verdict), .id = htonl(id)};
    start_message(type, 0);
    add_attribute(NFQA_VERDICT_HDR, &header, sizeof header);
    send_message();
}

/* The id of the packet that the kernel's message tells of, or 0, which is never an id. */
static uint32_t packet_id(const struct nlmsghdr *header)
{
    if (header->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET))
        return 0;
    const char *at = (const char *)NLMSG_DATA(header) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
    const char *end = (const char *)header + header->nlmsg_len;
    while (at + NLA_HDRLEN <= end) {
        const struct nlattr *attribute = (const struct nlattr *)at;
        if ((attribute->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR)
            return ntohl(((const struct nfqnl_msg_packet_hdr *)(at + NLA_HDRLEN))->packet_id);
        at += NLA_ALIGN(attribute->nla_len);
    }
    return 0;
}

static void hold(uint32_t id, uint64_t now)
{
    if (loss_ppm && (uint64_t)random() % 1000000 < loss_ppm) {
        send_verdict(NFQNL_MSG_VERDICT, id, NF_DROP);
        return;
    }
    /* The kernel's queue is as long as this one, so there is always room. */
    held[(first + count++) % HELD_MAX] = (struct held){id, now + delay_ns};
}

static void receive(void)
{
    static char buffer[1 << 16];
    for (;;) {
        ssize_t size = recv(netlink, buffer, sizeof buffer, MSG_DONTWAIT);
        if (size < 0)
            return;
        uint64_t now = now_ns();
        struct nlmsghdr *header = (struct nlmsghdr *)buffer;
        for (; NLMSG_OK(header, size); header = NLMSG_NEXT(header, size)) {
            uint32_t id = packet_id(header);
            if (id)
                hold(id, now);
        }
    }
}

/* Lets all go that are due, in one message: a batch verdict covers every smaller id. */
static void release(void)
{
    uint64_t now = now_ns();
    uint32_t last = 0;
    while (count && held[first].due_ns <= now) {
        last = held[first].id;
        first = (first + 1) % HELD_MAX;
        count--;
    }
    if (last)
        send_verdict(NFQNL_MSG_VERDICT_BATCH, last, NF_ACCEPT);
}

static void wait_for_work(const sigset_t *signals)
{
    struct pollfd readable = {.fd = netlink, .events = POLLIN};
    struct timespec timeout = {0}, *until = NULL;
    if (count) {
        uint64_t now = now_ns(), due = held[first].due_ns;
        uint64_t wait = due > now ? due - now : 0;
        timeout.tv_sec = (time_t)(wait / 1000000000u);
        timeout.tv_nsec = (long)(wait % 1000000000u);
        until = &timeout;
    }
    if (ppoll(&readable, 1, until, signals) < 0 && errno != EINTR)
        fail("ppoll");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: wan-delay QUEUE SETTINGS\n");
        return 2;
    }
    queue = (uint16_t)atoi(argv[1]);

    sigset_t hangup, waiting;
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    sigprocmask(SIG_BLOCK, &hangup, &waiting);
    sigdelset(&waiting, SIGHUP);
    sigaction(SIGHUP, &(struct sigaction){.sa_handler = on_hangup}, NULL);
    prctl(PR_SET_TIMERSLACK, 1);
    bind_queue();

    for (;;) {
        if (settings_changed) {
            settings_changed = 0;
            read_settings(argv[2]);
        }
        wait_for_work(&waiting);
        receive();
        release();
    }
}
