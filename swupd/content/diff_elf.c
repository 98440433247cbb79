/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/diff_elf.h"

#include <elf.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/mem.h"

#define PAGE_BITS   12
#define TABLE_RUN   4UL     /* fewer numbers in a row that could be a table's are something else */
#define TABLE_FAR   65536   /* from code, at most, that a table's number points to when taken from its own place */
#define LOW_NUMBERS 0x1000U /* smaller ones are hardly addresses */
#define SYMBOL_SIZE sizeof(Elf64_Sym)

static const struct machine *const machines[] = {&machine_x86_64};

unsigned reference_size(enum reference_kind kind)
{
	return kind == REF_ADDRESS ? 8 : 4;
}

uint64_t reference_field(const uint8_t *p, unsigned size)
{
	uint64_t v = 0;

	memcpy(&v, p, size);
	v = le64toh(v);
	return size == 4 ? (uint64_t)(int64_t)(int32_t)v : v;
}

void reference_put(uint8_t *p, uint64_t v, unsigned size)
{
	v = htole64(v);
	memcpy(p, &v, size);
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)reference_field(p, 4);
}

static uint64_t get64(const uint8_t *p)
{
	return reference_field(p, 8);
}

/* ---- a file ---- */

static void add_segment(struct elf *f, const uint8_t *h)
{
	struct segment s = {
		.offset = get64(h + offsetof(Elf64_Phdr, p_offset)),
		.address = get64(h + offsetof(Elf64_Phdr, p_vaddr)),
		.size = get64(h + offsetof(Elf64_Phdr, p_filesz)),
		.memory = get64(h + offsetof(Elf64_Phdr, p_memsz)),
		.code = get32(h + offsetof(Elf64_Phdr, p_flags)) & PF_X,
	};

	if (get32(h) == PT_GNU_EH_FRAME)
		f->frame_header = s.address;
	if (get32(h) != PT_LOAD || f->n_segments == ARRAY_LEN(f->segments) || s.offset > ELF_MAX || s.size > ELF_MAX ||
	    s.memory > UINT32_MAX)
		return;
	if (f->n_segments == 0 || s.address < f->low)
		f->low = s.address;
	f->high = MAX(f->high, s.address + s.memory);
	f->segments[f->n_segments++] = s;
}

void elf_read_head(struct elf *f, const uint8_t *p, size_t len)
{
	static const uint8_t magic[] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB};

	*f = (struct elf){.p = p, .len = len};
	if (len < ELF_HEAD || memcmp(p, magic, sizeof(magic)) != 0)
		return;
	uint64_t at = get64(p + offsetof(Elf64_Ehdr, e_phoff));
	unsigned n = get16(p + offsetof(Elf64_Ehdr, e_phnum));
	if (at > ELF_HEAD || n * sizeof(Elf64_Phdr) > ELF_HEAD - at)
		return;
	f->fixed = get16(p + offsetof(Elf64_Ehdr, e_type)) == ET_EXEC;
	for (; n > 0; n--, at += sizeof(Elf64_Phdr))
		add_segment(f, p + at);
	if (f->high - f->low > UINT32_MAX)
		f->n_segments = 0;
	for (size_t i = 0; f->n_segments > 0 && i < ARRAY_LEN(machines); i++)
		if (machines[i]->number == get16(p + offsetof(Elf64_Ehdr, e_machine)))
			f->machine = machines[i];
}

void elf_clear(struct elf *f)
{
	free(f->refs);
	*f = (struct elf){0};
}

const struct segment *elf_code(const struct elf *f, uint64_t offset, uint64_t len)
{
	for (unsigned i = 0; i < f->n_segments; i++) {
		const struct segment *s = &f->segments[i];
		if (s->code && offset >= s->offset && offset - s->offset <= s->size &&
		    len <= s->size - (offset - s->offset))
			return s;
	}
	return NULL;
}

/* ---- its references ---- */

struct section {
	const char *name;
	uint32_t type;
	uint64_t flags, address, offset, size;
};

static bool is_address(const struct elf *f, uint64_t v)
{
	return v >= f->low && v < f->high && v >= LOW_NUMBERS;
}

static void add(struct elf *f, uint64_t at, enum reference_kind kind, uint64_t target)
{
	if (f->n_refs == ELF_REFERENCES)
		return;
	VEC_GROW(f->refs, f->n_refs, f->cap_refs);
	f->refs[f->n_refs++] = (struct reference){
		.at = (uint32_t)at & (2 * ELF_MAX - 1), .kind = kind, .target = (uint32_t)(target - f->low)};
}

static uint64_t behind(enum reference_kind kind)
{
	return kind == REF_PC ? 4 : kind == REF_PC_1 ? 5 : kind == REF_PC_4 ? 8 : 0;
}

/* In code whose addresses are absolute, any number that could be one */
static void scan_absolute(struct elf *f, const struct section *s, size_t from, size_t end)
{
	const uint8_t *p = f->p + s->offset;

	for (size_t i = from; i + 4 <= end; i++)
		if (is_address(f, get32(p + i))) {
			add(f, s->offset + i, REF_ADDRESS4, get32(p + i));
			i += 3;
		}
}

static void scan_code(struct elf *f, const struct section *s)
{
	const uint8_t *p = f->p + s->offset;
	enum reference_kind kind = REF_PC;
	size_t from = 0, at = 0;

	if (s->size < 4)
		return;
	for (size_t end = s->size - 3; (at = f->machine->next(p, from, at, end, &kind)) < end;) {
		uint64_t field = reference_field(p + at, 4), target = s->address + at + behind(kind) + field;
		if (field == 0 || target < f->low || target >= f->high) {
			at++;
			continue;
		}
		if (f->fixed)
			scan_absolute(f, s, from, at);
		add(f, s->offset + at, kind, target);
		from = at += 4;
	}
	if (f->fixed)
		scan_absolute(f, s, from, s->size);
}

static void scan_words(struct elf *f, const struct section *s)
{
	for (size_t i = 0; i + 8 <= s->size; i += 8) {
		uint64_t v = get64(f->p + s->offset + i);
		if (is_address(f, v))
			add(f, s->offset + i, REF_ADDRESS, v);
	}
}

static void scan_relocations(struct elf *f, const struct section *s)
{
	const uint8_t *p = f->p + s->offset;

	for (size_t i = 0; i + sizeof(Elf64_Rela) <= s->size; i += sizeof(Elf64_Rela)) {
		uint64_t place = get64(p + i), addend = get64(p + i + offsetof(Elf64_Rela, r_addend));
		uint64_t symbol = ELF64_R_SYM(get64(p + i + offsetof(Elf64_Rela, r_info)));
		if (is_address(f, place))
			add(f, s->offset + i, REF_ADDRESS, place);
		if (symbol != 0 && f->symbols != 0)
			add(f, s->offset + i + offsetof(Elf64_Rela, r_info) + 4, REF_SYMBOL,
			    f->symbols + symbol * SYMBOL_SIZE);
		if (is_address(f, addend))
			add(f, s->offset + i + offsetof(Elf64_Rela, r_addend), REF_ADDRESS, addend);
	}
}

static void scan_symbols(struct elf *f, const struct section *s)
{
	for (size_t i = 0; i + SYMBOL_SIZE <= s->size; i += SYMBOL_SIZE) {
		uint64_t at = s->offset + i + offsetof(Elf64_Sym, st_value), v = get64(f->p + at);
		if (is_address(f, v))
			add(f, at, REF_ADDRESS, v);
	}
}

/* Sorted pairs: a function, what .eh_frame has of it. The first 12 bytes say how the others are coded: so, nearly always */
static void scan_frame_header(struct elf *f, const struct section *s)
{
	for (size_t i = 12; i + 4 <= s->size; i += 4)
		add(f, s->offset + i, REF_HEADER, f->frame_header + reference_field(f->p + s->offset + i, 4));
}

/* Entries with a length in front. Those of functions begin with how far back their common part is, and the address */
static void scan_frames(struct elf *f, const struct section *s)
{
	const uint8_t *p = f->p + s->offset;

	for (size_t i = 0, len; i + 12 <= s->size; i += len + 4) {
		len = get32(p + i);
		if (len < 8 || len > s->size - i - 4)
			break;
		if (get32(p + i + 4) == 0)
			continue;
		add(f, s->offset + i + 4, REF_BACK, s->address + i + 4 - get32(p + i + 4));
		add(f, s->offset + i + 8, REF_HERE, s->address + i + 8 + reference_field(p + i + 8, 4));
	}
}

struct range {
	uint64_t from, to;
};

static bool in_table(const struct elf *f, const struct section *s, size_t i, const struct range *code)
{
	int64_t v = (int64_t)reference_field(f->p + s->offset + i, 4);
	int64_t to = (int64_t)(s->address + i) + v;

	return v < 0 && to >= (int64_t)code->from - TABLE_FAR && to < (int64_t)code->to;
}

/* Which of the numbers in this section code refers to: a bit each */
static uint8_t *find_labels(const struct elf *f, const struct section *s)
{
	uint8_t *labels = xcalloc(s->size / 32 + 1, 1);

	for (size_t i = 0; i < f->n_refs; i++) {
		uint64_t at = f->low + f->refs[i].target - s->address;
		if (f->refs[i].kind == REF_PC && at < s->size && at % 4 == 0)
			labels[at / 32] |= (uint8_t)(1U << at / 4 % 8);
	}
	return labels;
}

/* Jump tables among constants: numbers relative to the table's begin, which code refers to. Code lies before them. */
static void scan_tables(struct elf *f, const struct section *s, const struct range *code)
{
	_cleanup_free_ uint8_t *labels = find_labels(f, s);

	for (size_t i = 0, end; i + 4 <= s->size; i = MAX(end, i + 4)) {
		size_t begin = i;
		for (end = i; end + 4 <= s->size && in_table(f, s, end, code); end += 4)
			;
		for (size_t k = i; end - i >= TABLE_RUN * 4 && k < end; k += 4) {
			if (labels[k / 32] >> k / 4 % 8 & 1)
				begin = k;
			add(f, s->offset + k, REF_TABLE, s->address + begin + reference_field(f->p + s->offset + k, 4));
		}
	}
}

static void scan_section(struct elf *f, const struct section *s, const struct range *code)
{
	switch (s->type) {
	case SHT_DYNSYM:
	case SHT_SYMTAB:
		scan_symbols(f, s);
		return;
	case SHT_RELA:
		scan_relocations(f, s);
		return;
	case SHT_DYNAMIC:
	case SHT_INIT_ARRAY:
	case SHT_FINI_ARRAY:
	case SHT_RELR:
		scan_words(f, s);
		return;
	case SHT_PROGBITS:
	case SHT_X86_64_UNWIND:
		break;
	default:
		return;
	}
	if (s->flags & SHF_EXECINSTR)
		scan_code(f, s);
	else if (strcmp(s->name, ".eh_frame_hdr") == 0 && s->address == f->frame_header)
		scan_frame_header(f, s);
	else if (strcmp(s->name, ".eh_frame") == 0)
		scan_frames(f, s);
	else if (s->flags & SHF_WRITE || (f->fixed && strcmp(s->name, ".rodata") == 0))
		scan_words(f, s);
	else if (strcmp(s->name, ".rodata") == 0)
		scan_tables(f, s, code);
}

/* names: of the strings, NUL at the end. false: it is not in the file */
static bool read_section(const struct elf *f, const uint8_t *h, struct range names, struct section *out)
{
	uint64_t name = names.from + get32(h);

	*out = (struct section){
		.name = name < names.to ? (const char *)f->p + name : "",
		.type = get32(h + offsetof(Elf64_Shdr, sh_type)),
		.flags = get64(h + offsetof(Elf64_Shdr, sh_flags)),
		.address = get64(h + offsetof(Elf64_Shdr, sh_addr)),
		.offset = get64(h + offsetof(Elf64_Shdr, sh_offset)),
		.size = get64(h + offsetof(Elf64_Shdr, sh_size)),
	};
	return out->type != SHT_NOBITS && out->offset <= f->len && out->size <= f->len - out->offset;
}

static int by_offset(const void *a, const void *b)
{
	const struct section *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return x->size < y->size ? -1 : x->size > y->size;
}

static size_t read_sections(const struct elf *f, struct section **out)
{
	uint64_t at = get64(f->p + offsetof(Elf64_Ehdr, e_shoff));
	unsigned n = get16(f->p + offsetof(Elf64_Ehdr, e_shnum)), k = get16(f->p + offsetof(Elf64_Ehdr, e_shstrndx));
	struct range names = {0};
	struct section s;
	size_t read = 0;

	if (at > f->len || n * sizeof(Elf64_Shdr) > f->len - at)
		return 0;
	if (k < n && read_section(f, f->p + at + k * sizeof(Elf64_Shdr), names, &s) && s.size > 0 &&
	    f->p[s.offset + s.size - 1] == '\0')
		names = (struct range){s.offset, s.offset + s.size};
	struct section *sections = xcalloc(n + 1, sizeof(*sections));
	for (unsigned i = 0; i < n; i++)
		if (read_section(f, f->p + at + i * sizeof(Elf64_Shdr), names, &s))
			sections[read++] = s;
	qsort(sections, read, sizeof(*sections), by_offset);
	*out = sections;
	return read;
}

void elf_find_references(struct elf *f)
{
	_cleanup_free_ struct section *sections = NULL;
	struct range code = {.from = INT64_MAX};
	uint64_t done = 0;

	if (!f->machine || f->len > ELF_MAX)
		return;
	size_t n = read_sections(f, &sections);
	for (size_t i = 0; i < n; i++) {
		const struct section *s = &sections[i];
		if (s->type == SHT_DYNSYM)
			f->symbols = s->address;
		if (s->flags & SHF_EXECINSTR && s->address >= f->low && s->address < f->high) {
			code.from = MIN(code.from, s->address);
			code.to = MAX(code.to, s->address + s->size);
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (sections[i].offset < done)
			continue;
		scan_section(f, &sections[i], &code);
		done = sections[i].offset + sections[i].size;
	}
}

/* ---- what they become ---- */

void predictor_clear(struct predictor *p)
{
	elf_clear(&p->old);
	elf_clear(&p->new);
	free(p->ranges);
	free(p->pages);
	free(p->learned);
	*p = (struct predictor){0};
}

static int by_old(const void *a, const void *b)
{
	const struct diff_piece *x = a, *y = b;

	if (x->old != y->old)
		return x->old < y->old ? -1 : 1;
	return x->copy < y->copy ? 1 : x->copy > y->copy ? -1 : x->insert < y->insert ? -1 : x->insert > y->insert;
}

void predictor_map(struct predictor *p, const struct diff_piece *pieces, size_t n)
{
	_cleanup_free_ struct diff_piece *sorted = xcalloc(n + 1, sizeof(*sorted));
	size_t n_sorted = 0, n_pages = (p->old.len >> PAGE_BITS) + 2, page = 0;
	uint64_t new = 0, end = 0;

	/* insert is the position in the new file here */
	for (size_t i = 0; i < n; i++) {
		if (pieces[i].copy > 0)
			sorted[n_sorted++] =
				(struct diff_piece){.copy = pieces[i].copy, .insert = new, .old = pieces[i].old};
		new += pieces[i].copy + pieces[i].insert;
	}
	qsort(sorted, n_sorted, sizeof(*sorted), by_old);
	free(p->ranges);
	p->ranges = xcalloc(n_sorted + 1, sizeof(*p->ranges));
	p->n_ranges = 1;
	for (size_t i = 0; i < n_sorted; i++) {
		const struct diff_piece *s = &sorted[i];
		if (s->old + s->copy <= end)
			continue;
		struct elf_map_range r = {.start = MAX(s->old, end), .shift = (int64_t)(s->insert - s->old)};
		p->n_ranges -= r.start == 0;
		p->ranges[p->n_ranges++] = r;
		end = s->old + s->copy;
	}
	free(p->pages);
	p->pages = xcalloc(n_pages, sizeof(*p->pages));
	for (size_t i = 0; i < p->n_ranges; i++)
		for (; page < n_pages && page << PAGE_BITS < p->ranges[i].start; page++)
			p->pages[page] = i > 0 ? (uint32_t)i - 1 : 0;
	for (; page < n_pages; page++)
		p->pages[page] = (uint32_t)p->n_ranges - 1;
	free(p->learned);
	p->learned = xcalloc(1U << LEARNED_BITS, sizeof(*p->learned));
}

static uint64_t map_offset(const struct predictor *p, uint64_t offset)
{
	size_t low = p->pages[offset >> PAGE_BITS], high = p->pages[(offset >> PAGE_BITS) + 1] + 1;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (p->ranges[middle].start <= offset)
			low = middle;
		else
			high = middle;
	}
	return offset + (uint64_t)p->ranges[low].shift;
}

/* The address of a place in the file; the offset itself when it has none */
static uint64_t address_of(const struct elf *f, uint64_t offset)
{
	for (unsigned i = 0; i < f->n_segments; i++) {
		const struct segment *s = &f->segments[i];
		if (offset >= s->offset && offset - s->offset < s->size)
			return s->address + (offset - s->offset);
	}
	return f->low + offset;
}

void elf_target_of_field(const struct elf *f, const uint8_t *p, enum reference_kind kind, uint64_t at, uint8_t out[4])
{
	uint32_t target = htobe32((uint32_t)(reference_field(p, 4) + address_of(f, at) + behind(kind) - f->low));

	memcpy(out, &target, sizeof(target));
}

uint64_t elf_field_of_target(const struct elf *f, const uint8_t target[4], enum reference_kind kind, uint64_t at)
{
	uint32_t v;

	memcpy(&v, target, sizeof(v));
	return be32toh(v) + f->low - address_of(f, at) - behind(kind);
}

static uint32_t learned_at(uint32_t target)
{
	return target * 0x9e3779b1U >> (32 - LEARNED_BITS);
}

uint32_t predictor_target(struct predictor *p, uint32_t target)
{
	uint64_t a = p->old.low + target;
	uint32_t at = learned_at(target);

	if (p->learned[at].from == target && target != 0)
		return p->learned[at].to;
	for (unsigned i = 0; i < p->old.n_segments; i++) {
		const struct segment *s = &p->old.segments[i];
		if (a < s->address || a - s->address >= s->memory)
			continue;
		if (a - s->address < s->size && a - s->address + s->offset < p->old.len)
			return (uint32_t)(address_of(&p->new, map_offset(p, a - s->address + s->offset)) - p->new.low);
		/* memory behind what the file has */
		if (i < p->new.n_segments)
			return (uint32_t)(a - s->address - s->size + p->new.segments[i].address +
					  p->new.segments[i].size - p->new.low);
	}
	return target;
}

size_t predictor_seek(struct predictor *p, uint64_t at)
{
	size_t low = 0, high = p->old.n_refs;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (p->old.refs[middle].at < at)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* What is added to a target to have the field, or the field from it for REF_BACK */
static uint64_t base_of(struct predictor *p, const struct reference *r, uint64_t new_at)
{
	enum reference_kind kind = r->kind;
	uint32_t place;

	switch (kind) {
	case REF_PC:
	case REF_PC_1:
	case REF_PC_4:
	case REF_HERE:
	case REF_BACK:
		return address_of(&p->new, new_at) + behind(kind);
	case REF_HEADER:
		return p->new.frame_header;
	case REF_TABLE:
		place = r->target - (uint32_t)reference_field(p->old.p + r->at, 4);
		return p->new.low + predictor_target(p, place);
	case REF_SYMBOL:
		return p->new.low + predictor_target(p, (uint32_t)(p->old.symbols - p->old.low));
	default:
		return 0;
	}
}

uint64_t predictor_predict(struct predictor *p, const struct reference *r, uint64_t new_at)
{
	uint64_t target = p->new.low + predictor_target(p, r->target), base = base_of(p, r, new_at), v;

	if (r->kind == REF_BACK)
		v = base - target;
	else if (r->kind == REF_SYMBOL)
		v = (uint64_t)((int64_t)(target - base) / (int64_t)SYMBOL_SIZE);
	else
		v = target - base;
	return reference_size(r->kind) == 4 ? (uint64_t)(int64_t)(int32_t)v : v;
}

void predictor_learn(struct predictor *p, const struct reference *r, uint64_t new_at, uint64_t field)
{
	uint64_t base = base_of(p, r, new_at), target;

	if (r->kind == REF_BACK)
		target = base - field;
	else if (r->kind == REF_SYMBOL)
		target = base + field * SYMBOL_SIZE;
	else
		target = base + field;
	uint32_t at = learned_at(r->target);
	p->learned[at].from = r->target;
	p->learned[at].to = (uint32_t)(target - p->new.low);
}
