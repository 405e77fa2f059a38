/*
 * The lab's guest: the only program of a virtual machine, run as PID 1 from an initrd.
 *
 * It keeps a region of memory in which every page holds a pattern that only this page in this
 * generation can have, rewrites pages at a set rate, checks all of them again and again, and says
 * on the serial console how it is. A write that is lost on the way to another host shows as
 * CORRUPT; a guest that was started anew instead of moved shows as another boot id.
 *
 * Knobs, on the kernel command line:
 *   lifeboat.fill_kib=N     size of the region (default 65536)
 *   lifeboat.set_kib=N      the part of it that is rewritten, from its start (default: all)
 *   lifeboat.dirty_kib_s=N  rate of rewriting (default 0)
 *   lifeboat.beat_ms=N      time between heartbeats (default 1000)
 *   lifeboat.pass_ms=N      time of one full verification pass (default 5000)
 *
 * Lines on the console:
 *   BOOT <boot id>
 *   BEAT <boot id> tick=<n> checked=<pages> written=<pages>
 *   OK <n>                                  after the n-th full pass without a fault
 *   CORRUPT page=<n> expected=<generation> found=<generation>
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / 8, TICK_MS = 50 };

static uint64_t boot_id;
static uint64_t *region;
/* What each page should hold, kept apart from the pages themselves. */
static uint32_t *generations;

static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t page_seed(uint64_t page, uint32_t generation)
{
    return mix(boot_id ^ mix(page << 32 | generation)) | 1;
}

static uint64_t next_word(uint64_t word)
{
    word ^= word << 13;
    word ^= word >> 7;
    return word ^ word << 17;
}

static void write_page(uint64_t page)
{
    uint64_t *words = region + page * WORDS;
    uint32_t generation = ++generations[page];
    uint64_t word = page_seed(page, generation);
    words[0] = generation;
    for (int i = 1; i < WORDS; i++)
        words[i] = word = next_word(word);
}

static int check_page(uint64_t page)
{
    const uint64_t *words = region + page * WORDS;
    uint32_t generation = generations[page];
    uint64_t word = page_seed(page, generation);
    int good = words[0] == generation;
    for (int i = 1; good && i < WORDS; i++)
        good = words[i] == (word = next_word(word));
    if (!good)
        printf("CORRUPT page=%llu expected=%u found=%llu\n", (unsigned long long)page, generation,
               (unsigned long long)words[0]);
    return good;
}

static uint64_t knob(const char *cmdline, const char *name, uint64_t fallback)
{
    const char *found = strstr(cmdline, name);
    return found ? strtoull(found + strlen(name), NULL, 10) : fallback;
}

static void read_cmdline(char *buffer, size_t size)
{
    int file = open("/proc/cmdline", O_RDONLY);
    ssize_t length = file < 0 ? 0 : read(file, buffer, size - 1);
    buffer[length < 0 ? 0 : length] = 0;
    if (file >= 0)
        close(file);
}

static void open_console(void)
{
    int console = open("/dev/ttyS0", O_RDWR | O_NOCTTY);
    for (int fd = 0; console >= 0 && fd < 3; fd++)
        dup2(console, fd);
    setvbuf(stdout, NULL, _IOLBF, 0);
}

/* Early in the boot of an emulated machine there is little entropy: the time must tell apart. */
static uint64_t draw_boot_id(void)
{
    struct timespec now;
    uint64_t random = 0;
    clock_gettime(CLOCK_REALTIME, &now);
    if (getrandom(&random, sizeof random, GRND_INSECURE) < 0)
        random = 0;
    return mix(random ^ mix((uint64_t)now.tv_sec << 30 ^ (uint64_t)now.tv_nsec) ^
               __builtin_ia32_rdtsc());
}

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void *map(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        printf("FAILED no memory for %zu bytes\n", size);
        exit(1);
    }
    return memory;
}

int main(void)
{
    char cmdline[2048];
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    mount("proc", "/proc", "proc", 0, NULL);
    open_console();
    read_cmdline(cmdline, sizeof cmdline);

    uint64_t fill_kib = knob(cmdline, "lifeboat.fill_kib=", 65536);
    uint64_t set_kib = knob(cmdline, "lifeboat.set_kib=", fill_kib);
    uint64_t dirty_kib_s = knob(cmdline, "lifeboat.dirty_kib_s=", 0);
    uint64_t beat_ms = knob(cmdline, "lifeboat.beat_ms=", 1000);
    uint64_t pass_ms = knob(cmdline, "lifeboat.pass_ms=", 5000);

    uint64_t pages = fill_kib / 4 ? fill_kib / 4 : 1;
    uint64_t set = set_kib / 4 ? set_kib / 4 : 1;
    if (set > pages)
        set = pages;

    boot_id = draw_boot_id();
    printf("BOOT %016llx\n", (unsigned long long)boot_id);
    region = map(pages * PAGE);
    generations = map(pages * sizeof *generations);
    for (uint64_t page = 0; page < pages; page++)
        write_page(page);

    uint64_t tick = 0, checked = 0, written = 0, passes = 0, faults = 0;
    uint64_t to_check = 0, to_write = 0;
    /* KiB x ms: what is owed of rewriting, so that low rates do not round down to nothing. */
    uint64_t owed = 0;
    uint64_t next_beat = 0, due = now_ms();
    uint64_t pages_per_tick = pages * TICK_MS / (pass_ms ? pass_ms : 1) + 1;

    for (;;) {
        tick++;
        for (owed += dirty_kib_s * TICK_MS; owed >= 4 * 1000; owed -= 4 * 1000) {
            write_page(to_write);
            to_write = (to_write + 1) % set;
            written++;
        }
        for (uint64_t i = 0; i < pages_per_tick; i++) {
            faults += !check_page(to_check);
            checked++;
            if (++to_check == pages) {
                to_check = 0;
                if (!faults)
                    printf("OK %llu\n", (unsigned long long)++passes);
            }
        }
        if (now_ms() >= next_beat) {
            next_beat = now_ms() + beat_ms;
            printf("BEAT %016llx tick=%llu checked=%llu written=%llu\n",
                   (unsigned long long)boot_id, (unsigned long long)tick,
                   (unsigned long long)checked, (unsigned long long)written);
        }
        due += TICK_MS;
        uint64_t now = now_ms();
        if (now < due)
            usleep((useconds_t)(due - now) * 1000);
        else
            due = now;
    }
}
