/* SPDX-License-Identifier: ISC */
/* Mutates a play by whole units, which are texts and commands: what matters is their order, and
 * what one side has not finished sending when the other one sends. Half of the time libFuzzer
 * mutates the bytes instead. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UNITS_MAX 256

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);

struct play_units {
    size_t start[UNITS_MAX + 1]; /* the last one: where they all end */
    size_t count;
};

static size_t unit_length(const uint8_t *data, size_t size)
{
    const uint8_t *stop = memchr(data, 0xff, size);
    if (stop != data)
        return stop == NULL ? size : (size_t)(stop - data);
    size_t length = size > 1 && (data[1] == 'w' || data[1] == 'z') ? 3 : 2;
    return length < size ? length : size;
}

static void find_units(struct play_units *units, const uint8_t *data, size_t size)
{
    size_t at = 1; /* after the options */
    units->count = 0;
    while (at < size && units->count < UNITS_MAX) {
        units->start[units->count++] = at;
        at += unit_length(data + at, size - at);
    }
    units->start[units->count] = at;
}

static unsigned choose(unsigned *seed, size_t count)
{
    *seed = *seed * 1103515245U + 12345U;
    return (unsigned)((*seed >> 8) % count);
}

/* Removes what is between two places. */
static size_t drop(uint8_t *data, size_t size, size_t from, size_t to)
{
    memmove(data + from, data + to, size - to);
    return size - (to - from);
}

/* Puts bytes, which may be a part of the data, at a place. */
static size_t insert(uint8_t *data, size_t size, size_t max_size, size_t at, const uint8_t *what,
                     size_t length)
{
    uint8_t copy[512];
    if (length > sizeof(copy) || length > max_size - size)
        return size;
    memcpy(copy, what, length);
    memmove(data + at + length, data + at, size - at);
    memcpy(data + at, copy, length);
    return size + length;
}

/* Moves the unit between two places to a third one. */
static size_t move(uint8_t *data, size_t size, size_t max_size, size_t start, size_t end, size_t to)
{
    size_t length = end - start;
    size_t grown = insert(data, size, max_size, to, data + start, length);
    if (grown == size)
        return size;
    start += to <= start ? length : 0;
    return drop(data, grown, start, start + length);
}

static size_t mutate_units(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    static const uint8_t split[] = {0xff, 's'};
    struct play_units units;
    find_units(&units, data, size);
    if (units.count == 0)
        return size;
    unsigned i = choose(&seed, units.count);
    size_t start = units.start[i], end = units.start[i + 1];
    size_t inside = start + choose(&seed, end - start);
    size_t other = units.start[choose(&seed, units.count + 1)];
    switch (choose(&seed, 5)) {
    case 0:
        return drop(data, size, start, end);
    case 1: /* its end */
        return drop(data, size, inside, end);
    case 2:
        return insert(data, size, max_size, inside, split, sizeof(split));
    case 3: /* once more */
        return insert(data, size, max_size, other, data + start, end - start);
    default:
        return move(data, size, max_size, start, end, other);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    if (choose(&seed, 2) == 0)
        return LLVMFuzzerMutate(data, size, max_size);
    return mutate_units(data, size, max_size, seed);
}
