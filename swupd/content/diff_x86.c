/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <elf.h>

#include "swupd/base/mem.h"
#include "swupd/content/diff_elf.h"

/*
 * Where code refers to a place relative to itself: call, jmp and the conditional jumps with 32 bits; and memory
 * operands relative to the instruction pointer, whose ModRM byte is 00xxx101. Instructions are not decoded: what looks
 * so by the bytes before is taken for one, and costs a little where it is none.
 */

/* What the last byte before an operand says */
enum last { OTHER, CALL, JUMP, MODRM };

static const uint8_t lasts[256] = {
	[0xe8] = CALL,  [0xe9] = CALL,  [0x80] = JUMP,  [0x81] = JUMP,  [0x82] = JUMP,  [0x83] = JUMP,  [0x84] = JUMP,
	[0x85] = JUMP,  [0x86] = JUMP,  [0x87] = JUMP,  [0x88] = JUMP,  [0x89] = JUMP,  [0x8a] = JUMP,  [0x8b] = JUMP,
	[0x8c] = JUMP,  [0x8d] = JUMP,  [0x8e] = JUMP,  [0x8f] = JUMP,  [0x05] = MODRM, [0x0d] = MODRM, [0x15] = MODRM,
	[0x1d] = MODRM, [0x25] = MODRM, [0x2d] = MODRM, [0x35] = MODRM, [0x3d] = MODRM,
};

/* What follows the address in instructions of one byte: 1 + bytes of an immediate; 0: takes no memory, or is rare */
static const uint8_t one_byte[256] = {
	[0x01] = 1, [0x03] = 1, [0x09] = 1, [0x0b] = 1, [0x21] = 1, [0x23] = 1, [0x29] = 1, [0x2b] = 1, [0x31] = 1,
	[0x33] = 1, [0x38] = 1, [0x39] = 1, [0x3a] = 1, [0x3b] = 1, [0x63] = 1, [0x69] = 5, [0x6b] = 2, [0x80] = 2,
	[0x81] = 5, [0x83] = 2, [0x84] = 1, [0x85] = 1, [0x87] = 1, [0x88] = 1, [0x89] = 1, [0x8a] = 1, [0x8b] = 1,
	[0x8d] = 1, [0xc6] = 2, [0xc7] = 5, [0xf6] = 1, [0xf7] = 1, [0xff] = 1,
};

/* The same of 0f xx, and of instructions with a VEX prefix */
static const uint8_t two_bytes[256] = {
	[0x10] = 1, [0x11] = 1, [0x12] = 1, [0x13] = 1, [0x14] = 1, [0x16] = 1, [0x17] = 1, [0x28] = 1, [0x29] = 1,
	[0x2a] = 1, [0x2c] = 1, [0x2d] = 1, [0x2e] = 1, [0x2f] = 1, [0x42] = 1, [0x43] = 1, [0x44] = 1, [0x45] = 1,
	[0x46] = 1, [0x47] = 1, [0x48] = 1, [0x49] = 1, [0x4c] = 1, [0x4d] = 1, [0x4e] = 1, [0x4f] = 1, [0x51] = 1,
	[0x54] = 1, [0x55] = 1, [0x56] = 1, [0x57] = 1, [0x58] = 1, [0x59] = 1, [0x5c] = 1, [0x5d] = 1, [0x5e] = 1,
	[0x5f] = 1, [0x60] = 1, [0x61] = 1, [0x62] = 1, [0x6c] = 1, [0x6e] = 1, [0x6f] = 1, [0x74] = 1, [0x75] = 1,
	[0x76] = 1, [0x7e] = 1, [0x7f] = 1, [0xaf] = 1, [0xb1] = 1, [0xb6] = 1, [0xb7] = 1, [0xbe] = 1, [0xbf] = 1,
	[0xc1] = 1, [0xd4] = 1, [0xd6] = 1, [0xdb] = 1, [0xe6] = 1, [0xeb] = 1, [0xef] = 1, [0xfa] = 1, [0xfe] = 1,
};

/* back: bytes before p that may be looked at */
static unsigned immediate(const uint8_t *p, size_t back)
{
	if (back >= 3 && p[-3] == 0x0f && two_bytes[p[-2]])
		return two_bytes[p[-2]];
	if (back >= 4 && p[-4] == 0xc5 && two_bytes[p[-2]])
		return two_bytes[p[-2]];
	return back >= 2 ? one_byte[p[-2]] : 0;
}

static size_t x86_next(const uint8_t *code, size_t from, size_t at, size_t end, enum reference_kind *kind)
{
	for (size_t i = MAX(at, from + 1);; i++) {
		unsigned n = 0;
		/* most bytes: a tenth of what a client executes during an update goes here */
		while (i < end && lasts[code[i - 1]] == OTHER)
			i++;
		if (i >= end)
			return end;
		switch (lasts[code[i - 1]]) {
		case CALL:
			n = 1;
			break;
		case JUMP:
			n = i - from >= 2 && code[i - 2] == 0x0f;
			break;
		default:
			n = immediate(code + i, i - from);
		}
		if (n > 0) {
			*kind = n == 1 ? REF_PC : n == 2 ? REF_PC_1 : REF_PC_4;
			return i;
		}
	}
}

const struct machine machine_x86_64 = {.number = EM_X86_64, .next = x86_next};
