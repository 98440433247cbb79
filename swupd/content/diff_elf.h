/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "swupd/base/le.h"
#include "swupd/base/view.h"
#include "swupd/content/diff.h"

/*
 * Parts of diff.c and diff_make.c: what they must do alike with programs and libraries, whose references to their own
 * places are predicted. A wrong prediction costs bytes, never correctness; but both sides must predict the same, so all
 * of this is format, and stands in difference(5).
 */

/* What CONTROL has */
enum diff_kind { DIFF_PLAIN, DIFF_PROGRAM, DIFF_DEFLATED };

/* One piece of the new file */
struct diff_piece {
	uint64_t copy, insert;
	uint64_t old; /* where copy begins */
};

#define ELF_HEAD       1024U            /* of the new file these bytes must be known before anything can be predicted */
#define ELF_MAX        DIFF_PROGRAM_MAX /* larger files are taken as plain ones, by both sides */
#define ELF_REFERENCES (1U << 22)       /* of an old file; those behind are not seen */

/* How a reference is written */
enum reference_kind {
	REF_PC,       /* 4 bytes: target minus the address behind them */
	REF_PC_1,     /* so, and one byte more follows before what the address is of */
	REF_PC_4,     /* so, 4 bytes */
	REF_HERE,     /* 4 bytes: target minus the address of them */
	REF_BACK,     /* 4 bytes: the address of them minus target */
	REF_HEADER,   /* 4 bytes: target minus the address of .eh_frame_hdr */
	REF_TABLE,    /* 4 bytes: target minus some place nearby */
	REF_SYMBOL,   /* 4 bytes: number of a symbol; target is its entry in .dynsym */
	REF_ADDRESS,  /* 8 bytes: target */
	REF_ADDRESS4, /* 4 bytes: target */
};

struct reference {
	uint64_t at; /* offset in the old file */
	enum reference_kind kind;
	uint32_t target, table; /* an address minus the file's lowest; of REF_TABLE, that from which it counts */
};

/* Where an ELF file's references are kept: 2 bytes each. */
#define PAGE_BITS 12
#define PAGE_MASK ((1U << PAGE_BITS) - 1)
struct references {
	uint16_t *items; /* ascending, not overlapping: the offset in the page, the kind above it */
	size_t n, cap;
	uint32_t *pages; /* the first of each page, and one more at the end */
	size_t n_pages;
	uint32_t *tables; /* offsets where tables begin, ascending */
	size_t n_tables, cap_tables;
};

struct segment {
	uint64_t offset, address, size, memory; /* bytes in the file, in memory */
	bool code;
};

struct elf {
	struct view *view;
	const struct machine *machine; /* NULL: not a file that we can do more for than for any other */
	bool fixed;                    /* its addresses are absolute */
	struct segment segments[16];
	unsigned n_segments;
	uint64_t low, high;    /* addresses */
	uint64_t frame_header; /* address of .eh_frame_hdr */
	uint64_t symbols;      /* address of .dynsym */
	struct references refs;
};

#define MACHINE_BACK 8

/* What is special about a kind of CPU */
struct machine {
	uint16_t number; /* e_machine */
	/*
	 * The next position from at on (end: there is none) where an operand of 4 bytes begins that refers to a place, as
	 * far as the bytes before it tell; those from code[from] on may be looked at, but no more than MACHINE_BACK.
	 */
	size_t (*next)(const uint8_t *code, size_t from, size_t at, size_t end, enum reference_kind *kind);
};
extern const struct machine machine_x86_64;

/* Only the first ELF_HEAD bytes of it are looked at. */
void elf_read_head(struct elf *f, struct view *file);
void elf_find_references(struct elf *f); /* after that, in all of the file */
void elf_clear(struct elf *f);

/* References one after the other */
struct reference_walk {
	size_t i, page;
};

/* From the first at this offset or behind it */
struct reference_walk references_from(const struct elf *f, uint64_t at);

/* The next one's place and kind; false: there is none */
bool references_next(const struct elf *f, struct reference_walk *w, struct reference *out);

/* What it refers to, by its bytes (p) in the old file */
void reference_resolve(const struct elf *f, struct reference *r, const uint8_t *p);

/* The segment of code with all of these bytes of the file; NULL: none. */
const struct segment *elf_code(const struct elf *f, uint64_t offset, uint64_t len);

/*
 * An operand in literal code at this offset of the new file, and how it is told: its target's address minus the lowest,
 * highest byte first.
 */
void elf_target_of_field(const struct elf *f, const uint8_t *p, enum reference_kind kind, uint64_t at, uint8_t out[4]);
uint64_t elf_field_of_target(const struct elf *f, const uint8_t target[4], enum reference_kind kind, uint64_t at);

static inline unsigned reference_size(enum reference_kind kind)
{
	return kind == REF_ADDRESS ? 8 : 4;
}

/* Sign extended */
static inline uint64_t reference_field(const uint8_t *p, unsigned size)
{
	return size == 4 ? (uint64_t)(int64_t)(int32_t)le32_at(p) : le64_at(p);
}

static inline void reference_put(uint8_t *p, uint64_t v, unsigned size)
{
	if (size == 4)
		le32_put(p, (uint32_t)v);
	else
		le64_put(p, v);
}

struct elf_map_range {
	uint64_t start; /* in the old file */
	int64_t shift;  /* position in the new file minus that in the old one, up to the next start */
};

#define LEARNED_BITS 16

struct predictor {
	struct elf old, new;
	struct elf_map_range *ranges; /* the first starts at 0 */
	size_t n_ranges;
	uint32_t *pages; /* the range of each 4 KiB of the old file's start */
	uint64_t *known; /* which of learned are: few, and a CPU's cache has room for these bits */
	struct {
		uint32_t from, to; /* addresses minus the file's lowest */
	} * learned;
};

/* old and the head of new have been read; the predictor takes what old has. */
void predictor_clear(struct predictor *p);
void predictor_map(struct predictor *p, const struct diff_piece *pieces, size_t n);

/* Where a place of the old file is in the new one: addresses minus the lowest */
uint32_t predictor_target(struct predictor *p, uint32_t target);

/* What stands at new_at instead of r */
uint64_t predictor_predict(struct predictor *p, const struct reference *r, uint64_t new_at);

/* That was wrong, it is this */
void predictor_learn(struct predictor *p, const struct reference *r, uint64_t new_at, uint64_t field);
