/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdint.h>

/* The symbols of RFC 1951 (3.2.5): what one begins with, and how many bits more it has. Lengths are 3 and up, distances 1 and up. */

#define DEFLATE_END       256 /* of a block; lengths come behind */
#define DEFLATE_LITERALS  288 /* symbols of literals and lengths; the last two are not used */
#define DEFLATE_DISTANCES 30
#define DEFLATE_LENGTHS   29
#define DEFLATE_CODE_BITS 15 /* no code of a symbol is longer */

static const uint16_t deflate_length_base[DEFLATE_LENGTHS] = {3,  4,  5,  6,   7,   8,   9,   10,  11, 13,
							      15, 17, 19, 23,  27,  31,  35,  43,  51, 59,
							      67, 83, 99, 115, 131, 163, 195, 227, 258};
static const uint8_t deflate_length_bits[DEFLATE_LENGTHS] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2,
							     2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
static const uint16_t deflate_distance_base[DEFLATE_DISTANCES] = {
	1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
	193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};

static inline unsigned deflate_distance_bits(unsigned symbol)
{
	return symbol < 4 ? 0 : symbol / 2 - 1;
}

static inline unsigned deflate_highest_bit(unsigned v)
{
	return 31U - (unsigned)__builtin_clz(v);
}

/* Which one a length has, without DEFLATE_END + 1 */
static inline unsigned deflate_length_symbol(unsigned length)
{
	const unsigned v = length - 3, high = v < 8 ? 0 : deflate_highest_bit(v);

	return length == 258 ? DEFLATE_LENGTHS - 1 : v < 8 ? v : 4 * (high - 1) + (v >> (high - 2) & 3);
}

static inline unsigned deflate_distance_symbol(unsigned distance)
{
	const unsigned v = distance - 1, high = v < 4 ? 0 : deflate_highest_bit(v);

	return v < 4 ? v : 2 * high + (v >> (high - 1) & 1);
}

/* The code that blocks have without saying it: bits of a symbol of literals and lengths; all distances have 5. */
static inline unsigned deflate_fixed_length(unsigned symbol)
{
	return symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8;
}

#define DEFLATE_FIXED_DISTANCE 5

/* A code's value as it is written: its highest bit lowest */
static inline uint16_t deflate_turn(unsigned value, unsigned length)
{
	unsigned turned = 0;

	for (unsigned k = 0; k < length; k++)
		turned |= (value >> k & 1) << (length - 1 - k);
	return (uint16_t)turned;
}

/* In which order a header has the lengths of the code that it says the other two with; its symbols of 16 and up repeat. */
#define DEFLATE_REPEATS 19
static const uint8_t deflate_header_order[DEFLATE_REPEATS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
							      11, 4,  12, 3, 13, 2, 14, 1, 15};

/* How many times one of those symbols repeats at least, and how many bits more it has */
static inline unsigned deflate_repeat_base(unsigned symbol)
{
	return symbol == 18 ? 11 : 3;
}

static inline unsigned deflate_repeat_bits(unsigned symbol)
{
	return symbol < 16 ? 0 : symbol == 16 ? 2 : symbol == 17 ? 3 : 7;
}
