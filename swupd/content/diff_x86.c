/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>

#include "swupd/base/mem.h"
#include "swupd/content/diff_elf.h"

/*
 * Where code refers to a place relative to itself: call, jmp and the conditional jumps with 32 bits; and memory
 * operands relative to the instruction pointer, whose ModRM byte is 00xxx101. Instructions are not decoded: what looks
 * so by the bytes before is taken for one, and costs a little where it is none.
 */

/*
 * What the byte before the last one before an operand says. ONE: of an instruction of one byte that takes memory, what follows the address, 1 + bytes
 * of an immediate; 0: it takes none, or is rare. TWO: the same is 1 where 0f or a VEX prefix is before it. ESCAPE: it is that 0f.
 */
enum { ONE = 7, TWO = 8, ESCAPE = 16, ANY = 32 };

static const uint8_t befores[256] = {
	[0x01] = 1,   [0x03] = 1,       [0x09] = 1,   [0x0b] = 1,   [0x0f] = ESCAPE, [0x10] = TWO, [0x11] = TWO,
	[0x12] = TWO, [0x13] = TWO,     [0x14] = TWO, [0x16] = TWO, [0x17] = TWO,    [0x21] = 1,   [0x23] = 1,
	[0x28] = TWO, [0x29] = 1 | TWO, [0x2a] = TWO, [0x2b] = 1,   [0x2c] = TWO,    [0x2d] = TWO, [0x2e] = TWO,
	[0x2f] = TWO, [0x31] = 1,       [0x33] = 1,   [0x38] = 1,   [0x39] = 1,      [0x3a] = 1,   [0x3b] = 1,
	[0x42] = TWO, [0x43] = TWO,     [0x44] = TWO, [0x45] = TWO, [0x46] = TWO,    [0x47] = TWO, [0x48] = TWO,
	[0x49] = TWO, [0x4c] = TWO,     [0x4d] = TWO, [0x4e] = TWO, [0x4f] = TWO,    [0x51] = TWO, [0x54] = TWO,
	[0x55] = TWO, [0x56] = TWO,     [0x57] = TWO, [0x58] = TWO, [0x59] = TWO,    [0x5c] = TWO, [0x5d] = TWO,
	[0x5e] = TWO, [0x5f] = TWO,     [0x60] = TWO, [0x61] = TWO, [0x62] = TWO,    [0x63] = 1,   [0x69] = 5,
	[0x6b] = 2,   [0x6c] = TWO,     [0x6e] = TWO, [0x6f] = TWO, [0x74] = TWO,    [0x75] = TWO, [0x76] = TWO,
	[0x7e] = TWO, [0x7f] = TWO,     [0x80] = 2,   [0x81] = 5,   [0x83] = 2,      [0x84] = 1,   [0x85] = 1,
	[0x87] = 1,   [0x88] = 1,       [0x89] = 1,   [0x8a] = 1,   [0x8b] = 1,      [0x8d] = 1,   [0xaf] = TWO,
	[0xb1] = TWO, [0xb6] = TWO,     [0xb7] = TWO, [0xbe] = TWO, [0xbf] = TWO,    [0xc1] = TWO, [0xc6] = 2,
	[0xc7] = 5,   [0xd4] = TWO,     [0xd6] = TWO, [0xdb] = TWO, [0xe6] = TWO,    [0xeb] = TWO, [0xef] = TWO,
	[0xf6] = 1,   [0xf7] = 1,       [0xfa] = TWO, [0xfe] = TWO, [0xff] = 1,
};

/* What the last byte says: which of these the one before has to be. It is a call or jmp, a conditional jump, or a ModRM byte. */
enum { CALL = ANY, JUMP = ESCAPE, MODRM = ONE | TWO };

static const uint8_t lasts[256] = {
	[0xe8] = CALL,  [0xe9] = CALL,  [0x80] = JUMP,  [0x81] = JUMP,  [0x82] = JUMP,  [0x83] = JUMP,  [0x84] = JUMP,
	[0x85] = JUMP,  [0x86] = JUMP,  [0x87] = JUMP,  [0x88] = JUMP,  [0x89] = JUMP,  [0x8a] = JUMP,  [0x8b] = JUMP,
	[0x8c] = JUMP,  [0x8d] = JUMP,  [0x8e] = JUMP,  [0x8f] = JUMP,  [0x05] = MODRM, [0x0d] = MODRM, [0x15] = MODRM,
	[0x1d] = MODRM, [0x25] = MODRM, [0x2d] = MODRM, [0x35] = MODRM, [0x3d] = MODRM,
};

/* back: bytes before p that may be looked at, 2 or more */
static unsigned immediate(const uint8_t *p, size_t back)
{
	if (befores[p[-2]] & TWO && ((back >= 3 && p[-3] == 0x0f) || (back >= 4 && p[-4] == 0xc5)))
		return 1;
	return befores[p[-2]] & ONE;
}

static size_t x86_next(const uint8_t *code, size_t from, size_t at, size_t end, enum reference_kind *kind)
{
	size_t i = MAX(at, from + 1);
	unsigned before = i < end && i - from >= 2 ? befores[code[i - 2]] : 0;

	/* a tenth of what a client executes during an update goes here: both bytes at once tell nearly all that are none */
	for (; i < end; i++) {
		const uint8_t last = lasts[code[i - 1]];
		if (!(last & (before | ANY))) {
			before = befores[code[i - 1]];
			continue;
		}
		const unsigned n = last == MODRM ? immediate(code + i, i - from) : 1;
		if (n > 0) {
			*kind = n == 1 ? REF_PC : n == 2 ? REF_PC_1 : REF_PC_4;
			return i;
		}
		before = befores[code[i - 1]];
	}
	return end;
}

const struct machine machine_x86_64 = {.number = EM_X86_64, .next = x86_next};
