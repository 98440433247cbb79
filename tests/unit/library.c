/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/unit/library.h"

#include <elf.h>
#include <string.h>

#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "tests/unit/edits.h"

enum part { HEAD, SYMBOLS, RELOCATIONS, CODE, CONSTANTS, FRAME_HEADER, FRAMES, DATA, NAMES, PARTS };

static const struct {
	const char *name;
	uint64_t flags;
	uint32_t type;
	unsigned segment;
} parts[PARTS] = {
	[HEAD] = {"", 0, SHT_NULL, 0},
	[SYMBOLS] = {".dynsym", SHF_ALLOC, SHT_DYNSYM, 0},
	[RELOCATIONS] = {".rela.dyn", SHF_ALLOC, SHT_RELA, 0},
	[CODE] = {".text", SHF_ALLOC | SHF_EXECINSTR, SHT_PROGBITS, 1},
	[CONSTANTS] = {".rodata", SHF_ALLOC, SHT_PROGBITS, 2},
	[FRAME_HEADER] = {".eh_frame_hdr", SHF_ALLOC, SHT_PROGBITS, 2},
	[FRAMES] = {".eh_frame", SHF_ALLOC, SHT_PROGBITS, 2},
	[DATA] = {".data.rel.ro", SHF_ALLOC | SHF_WRITE, SHT_PROGBITS, 3},
	[NAMES] = {".shstrtab", 0, SHT_STRTAB, 3},
};

#define FUNCTIONS   1000U
#define CALLED      100U
#define CALLS       12U /* of one function */
#define TABLE       6U  /* entries of one function's jump table */
#define SEGMENTS    4U
#define SEGMENT_GAP 0x1000UL /* an address is the offset and so much for each segment before */
#define FIXED_BASE  0x400000UL
#define BSS         4096U

struct program {
	uint64_t base;
	uint64_t at[PARTS];
	struct buf part[PARTS];
	uint64_t code[FUNCTIONS], table[FUNCTIONS], frame[FUNCTIONS], word[FUNCTIONS]; /* where each has its own */
};

static void put(struct buf *b, uint64_t v, size_t bytes)
{
	for (; bytes > 0; bytes--, v >>= 8)
		buf_putc(b, (char)(v & 0xff));
}

static uint64_t address(const struct program *p, enum part part, uint64_t offset)
{
	return p->base + p->at[part] + offset + parts[part].segment * SEGMENT_GAP;
}

static uint64_t here(const struct program *p, enum part part)
{
	return address(p, part, p->part[part].len);
}

/* Its length is the same whatever the references are */
static void put_code(struct program *p, unsigned function)
{
	static const char *const leads[] = {"\xe8", "\x0f\x84", "\x48\x8d\x05", "\xc5\xf8\x28\x0d", "\x48\x83\x3d"};
	struct buf *b = &p->part[CODE];
	uint32_t seed = function;

	p->code[function] = b->len;
	for (unsigned i = 0; i < CALLS; i++) {
		unsigned lead = i % ARRAY_LEN(leads), other = edits_random(&seed) % CALLED;
		edits_noise(b, 3 + edits_random(&seed) % 20, 0x60, &seed);
		buf_puts(b, leads[lead]);
		uint64_t to = lead > 2    ? address(p, DATA, p->word[other])
			      : lead == 2 ? address(p, CONSTANTS, p->table[function])
					  : address(p, CODE, p->code[other]);
		put(b, to - here(p, CODE) - (lead == 4 ? 5 : 4), 4);
	}
	if (p->base > 0) {
		buf_puts(b, "\xbf"); /* mov $constant, %edi */
		put(b, address(p, CONSTANTS, p->table[function]), 4);
	}
	put(b, 0xc3, 1);
}

static void put_tables(struct program *p, unsigned function)
{
	uint64_t begin = here(p, CONSTANTS);

	p->table[function] = p->part[CONSTANTS].len;
	for (unsigned i = 0; i < TABLE; i++) {
		uint64_t to = address(p, CODE, p->code[function] + 2UL * i);
		if (p->base > 0)
			put(&p->part[CONSTANTS], to, 8);
		else
			put(&p->part[CONSTANTS], to - begin, 4);
	}
	p->word[function] = p->part[DATA].len;
	put(&p->part[DATA], address(p, CODE, p->code[function]), 8);
	put(&p->part[DATA], function, 8);
	put(&p->part[DATA], address(p, DATA, p->part[DATA].len + 8 + function), 8);
}

static void put_frames(struct program *p, unsigned function)
{
	struct buf *f = &p->part[FRAMES], *h = &p->part[FRAME_HEADER];

	put(h, address(p, CODE, p->code[function]) - address(p, FRAME_HEADER, 0), 4);
	put(h, here(p, FRAMES) - address(p, FRAME_HEADER, 0), 4);
	put(f, 20, 4);
	put(f, f->len, 4);
	put(f, address(p, CODE, p->code[function]) - here(p, FRAMES), 4);
	put(f, 30 + function, 4);
	put(f, 0x0d80c0de0000U + function, 8);
}

static void put_links(struct program *p, unsigned function)
{
	const Elf64_Sym symbol = {.st_name = function,
				  .st_info = ELF64_ST_INFO(STB_GLOBAL, STT_FUNC),
				  .st_shndx = CODE,
				  .st_value = address(p, CODE, p->code[function])};
	uint64_t number = p->part[SYMBOLS].len / sizeof(symbol), addend = address(p, CODE, p->code[function] + 1);

	buf_add(&p->part[SYMBOLS], &symbol, sizeof(symbol));
	const Elf64_Rela relocations[] = {
		{address(p, DATA, p->word[function]), ELF64_R_INFO(number, R_X86_64_GLOB_DAT), 0},
		{address(p, DATA, p->word[function] + 16), ELF64_R_INFO(0, R_X86_64_RELATIVE), (int64_t)addend},
	};
	buf_add(&p->part[RELOCATIONS], relocations, sizeof(relocations));
}

static void put_parts(struct program *p, const unsigned *functions, size_t n)
{
	for (unsigned i = 0; i < PARTS; i++)
		p->part[i].len = 0;
	put(&p->part[SYMBOLS], 0, sizeof(Elf64_Sym));
	put(&p->part[FRAME_HEADER], n << 32, 12);
	put(&p->part[FRAMES], 20, 4);
	put(&p->part[FRAMES], 0, 20);
	for (size_t i = 0; i < n; i++) {
		put_code(p, functions[i]);
		put_tables(p, functions[i]);
		put_frames(p, functions[i]);
		put_links(p, functions[i]);
	}
	for (unsigned i = 0; i < PARTS; i++)
		buf_add(&p->part[NAMES], parts[i].name, strlen(parts[i].name) + 1);
}

/* What a segment has: its parts, one behind the other */
static Elf64_Phdr segment(const struct program *p, unsigned number)
{
	static const uint32_t flags[SEGMENTS] = {PF_R, PF_R | PF_X, PF_R, PF_R | PF_W};
	Elf64_Phdr h = {.p_type = PT_LOAD, .p_flags = flags[number], .p_align = SEGMENT_GAP};

	for (unsigned i = PARTS; i-- > 0;) {
		if (parts[i].segment != number)
			continue;
		uint64_t end = p->at[i] + p->part[i].len;
		h.p_filesz = MAX(h.p_filesz + h.p_offset, end) - p->at[i];
		h.p_offset = p->at[i];
		h.p_vaddr = address(p, i, 0);
	}
	h.p_memsz = h.p_filesz + (number == SEGMENTS - 1 ? BSS : 0);
	return h;
}

static void put_head(struct program *p, struct buf *out)
{
	Elf64_Ehdr h = {
		.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
		.e_type = p->base > 0 ? ET_EXEC : ET_DYN,
		.e_machine = EM_X86_64,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(h),
		.e_shoff = p->at[NAMES] + p->part[NAMES].len,
		.e_ehsize = sizeof(h),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = SEGMENTS + 1,
		.e_shentsize = sizeof(Elf64_Shdr),
		.e_shnum = PARTS,
		.e_shstrndx = NAMES,
	};

	buf_add(out, &h, sizeof(h));
	for (unsigned i = 0; i < SEGMENTS; i++) {
		const Elf64_Phdr s = segment(p, i);
		buf_add(out, &s, sizeof(s));
	}
	const Elf64_Phdr frames = {.p_type = PT_GNU_EH_FRAME,
				   .p_flags = PF_R,
				   .p_offset = p->at[FRAME_HEADER],
				   .p_vaddr = address(p, FRAME_HEADER, 0),
				   .p_filesz = p->part[FRAME_HEADER].len};
	buf_add(out, &frames, sizeof(frames));
}

void library_make(const unsigned *functions, size_t n, bool fixed, struct buf *out)
{
	_cleanup_free_ struct program *p = xcalloc(1, sizeof(*p));
	uint64_t name = 0;

	p->base = fixed ? FIXED_BASE : 0;
	/* where all is; then what refers to it */
	for (int pass = 0; pass < 2; pass++) {
		uint64_t at = 2048;
		put_parts(p, functions, n);
		for (unsigned i = HEAD + 1; i < PARTS; i++) {
			p->at[i] = at;
			at = (at + p->part[i].len + 15) / 16 * 16;
		}
	}
	put_head(p, out);
	for (unsigned i = HEAD + 1; i < PARTS; i++) {
		while (out->len < p->at[i])
			buf_putc(out, 0);
		buf_add(out, p->part[i].data, p->part[i].len);
	}
	for (unsigned i = 0; i < PARTS; i++) {
		const Elf64_Shdr h = {.sh_name = (uint32_t)name,
				      .sh_type = parts[i].type,
				      .sh_flags = parts[i].flags,
				      .sh_addr = parts[i].flags & SHF_ALLOC ? address(p, i, 0) : 0,
				      .sh_offset = p->at[i],
				      .sh_size = p->part[i].len};
		buf_add(out, &h, sizeof(h));
		name += strlen(parts[i].name) + 1;
		buf_free(&p->part[i]);
	}
}
