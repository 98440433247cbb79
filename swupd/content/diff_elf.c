/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/diff_elf.h"

#include <elf.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/mem.h"

#define TABLE_RUN   4UL     /* fewer numbers in a row that could be a table's are something else */
#define TABLE_FAR   65536   /* from code, at most, that a table's number points to when taken from its own place */
#define LOW_NUMBERS 0x1000U /* smaller ones are hardly addresses */
#define SYMBOL_SIZE sizeof(Elf64_Sym)

static const struct machine *const machines[] = {&machine_x86_64};

/* ---- a file ---- */

static void add_segment(struct elf *f, const uint8_t *h)
{
	struct segment s = {
		.offset = le64_at(h + offsetof(Elf64_Phdr, p_offset)),
		.address = le64_at(h + offsetof(Elf64_Phdr, p_vaddr)),
		.size = le64_at(h + offsetof(Elf64_Phdr, p_filesz)),
		.memory = le64_at(h + offsetof(Elf64_Phdr, p_memsz)),
		.code = le32_at(h + offsetof(Elf64_Phdr, p_flags)) & PF_X,
	};

	if (le32_at(h) == PT_GNU_EH_FRAME)
		f->frame_header = s.address;
	if (le32_at(h) != PT_LOAD || f->n_segments == ARRAY_LEN(f->segments) || s.offset > ELF_MAX ||
	    s.size > ELF_MAX || s.memory > UINT32_MAX)
		return;
	if (f->n_segments == 0 || s.address < f->low)
		f->low = s.address;
	f->high = MAX(f->high, s.address + s.memory);
	f->segments[f->n_segments++] = s;
}

void elf_read_head(struct elf *f, struct view *file)
{
	static const uint8_t magic[] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB};
	size_t have;

	*f = (struct elf){.view = file};
	if (file->len < ELF_HEAD)
		return;
	const uint8_t *p = view_at(file, 0, &have);
	if (memcmp(p, magic, sizeof(magic)) != 0)
		return;
	uint64_t at = le64_at(p + offsetof(Elf64_Ehdr, e_phoff));
	unsigned n = le16_at(p + offsetof(Elf64_Ehdr, e_phnum));
	if (at > ELF_HEAD || n * sizeof(Elf64_Phdr) > ELF_HEAD - at)
		return;
	f->fixed = le16_at(p + offsetof(Elf64_Ehdr, e_type)) == ET_EXEC;
	for (; n > 0; n--, at += sizeof(Elf64_Phdr))
		add_segment(f, p + at);
	if (f->high - f->low > UINT32_MAX)
		f->n_segments = 0;
	for (size_t i = 0; f->n_segments > 0 && i < ARRAY_LEN(machines); i++)
		if (machines[i]->number == le16_at(p + offsetof(Elf64_Ehdr, e_machine)))
			f->machine = machines[i];
}

void elf_clear(struct elf *f)
{
	free(f->refs.items);
	free(f->refs.pages);
	free(f->refs.tables);
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

/* ---- its references ---- */

struct section {
	char name[16]; /* the first bytes of it */
	uint32_t type;
	uint64_t flags, address, offset, size;
};

static bool is_address(const struct elf *f, uint64_t v)
{
	return v >= f->low && v < f->high && v >= LOW_NUMBERS;
}

/* At least 8 bytes, if the file has them */
static const uint8_t *bytes(const struct elf *f, uint64_t at)
{
	size_t have;

	return view_at(f->view, at, &have);
}

/* What comes now is in this page, or behind it. */
static void turn_pages(struct references *x, size_t page)
{
	for (; x->n_pages <= page; x->n_pages++)
		x->pages[x->n_pages] = (uint32_t)x->n;
}

static inline void add(struct elf *f, uint64_t at, enum reference_kind kind)
{
	struct references *x = &f->refs;

	if (x->n == ELF_REFERENCES)
		return;
	turn_pages(x, at >> PAGE_BITS);
	VEC_GROW(x->items, x->n, x->cap);
	x->items[x->n++] = (uint16_t)(at & PAGE_MASK) | (uint16_t)(kind << PAGE_BITS);
}

static uint64_t behind(enum reference_kind kind)
{
	return kind == REF_PC ? 4 : kind == REF_PC_1 ? 5 : kind == REF_PC_4 ? 8 : 0;
}

/* In code whose addresses are absolute, any number that could be one */
static void scan_absolute(struct elf *f, uint64_t from, uint64_t end)
{
	for (uint64_t i = from; i + 4 <= end; i++)
		if (is_address(f, le32_at(bytes(f, i)))) {
			add(f, i, REF_ADDRESS4);
			i += 3;
		}
}

/* The numbers that code refers to in the section with jump tables: a bit each */
struct labels {
	uint64_t address, size;
	uint8_t *bits;
};

static void add_label(struct labels *l, uint64_t target)
{
	const uint64_t at = target - l->address;

	if (at < l->size && at % 4 == 0)
		l->bits[at / 32] |= (uint8_t)(1U << at / 4 % 8);
}

static void scan_code(struct elf *f, const struct section *s, struct labels *labels)
{
	const uint64_t end = s->offset + s->size;
	uint64_t from = s->offset, at = from;
	enum reference_kind kind = REF_PC;
	size_t have;

	while (at + 4 <= end) {
		/* what may be looked at: bytes before, and as many behind as there are at once */
		const size_t back = MIN(at - from, MACHINE_BACK);
		const uint8_t *p = view_at(f->view, at - back, &have);
		have = MIN(have, end - (at - back)) - 3;
		const size_t i = f->machine->next(p, 0, back, have, &kind);
		at += i - back;
		if (i >= have)
			continue;
		const uint64_t field = reference_field(p + i, 4);
		const uint64_t target = s->address + (at - s->offset) + behind(kind) + field;
		if (field == 0 || target < f->low || target >= f->high) {
			at++;
			continue;
		}
		if (f->fixed)
			scan_absolute(f, from, at);
		add(f, at, kind);
		if (kind == REF_PC)
			add_label(labels, target);
		from = at += 4;
	}
	if (f->fixed)
		scan_absolute(f, from, end);
}

static void scan_words(struct elf *f, const struct section *s)
{
	for (size_t i = 0; i + 8 <= s->size; i += 8) {
		if (is_address(f, le64_at(bytes(f, s->offset + i))))
			add(f, s->offset + i, REF_ADDRESS);
	}
}

static void scan_relocations(struct elf *f, const struct section *s)
{
	const uint64_t end = s->offset + s->size;

	for (uint64_t at = s->offset; at + sizeof(Elf64_Rela) <= end; at += sizeof(Elf64_Rela)) {
		const uint8_t *p = bytes(f, at);
		if (is_address(f, le64_at(p)))
			add(f, at, REF_ADDRESS);
		if (ELF64_R_SYM(le64_at(p + offsetof(Elf64_Rela, r_info))) != 0 && f->symbols != 0)
			add(f, at + offsetof(Elf64_Rela, r_info) + 4, REF_SYMBOL);
		if (is_address(f, le64_at(p + offsetof(Elf64_Rela, r_addend))))
			add(f, at + offsetof(Elf64_Rela, r_addend), REF_ADDRESS);
	}
}

static void scan_symbols(struct elf *f, const struct section *s)
{
	for (size_t i = 0; i + SYMBOL_SIZE <= s->size; i += SYMBOL_SIZE) {
		const uint64_t at = s->offset + i + offsetof(Elf64_Sym, st_value);
		if (is_address(f, le64_at(bytes(f, at))))
			add(f, at, REF_ADDRESS);
	}
}

/* Sorted pairs: a function, what .eh_frame has of it. The first 12 bytes say how the others are coded: so, nearly always */
static void scan_frame_header(struct elf *f, const struct section *s)
{
	for (size_t i = 12; i + 4 <= s->size; i += 4)
		add(f, s->offset + i, REF_HEADER);
}

/* Entries with a length in front. Those of functions begin with how far back their common part is, and the address */
static void scan_frames(struct elf *f, const struct section *s)
{
	for (size_t i = 0, len; i + 12 <= s->size; i += len + 4) {
		const uint8_t *p = bytes(f, s->offset + i);
		len = le32_at(p);
		if (len < 8 || len > s->size - i - 4)
			break;
		if (le32_at(p + 4) == 0)
			continue;
		add(f, s->offset + i + 4, REF_BACK);
		add(f, s->offset + i + 8, REF_HERE);
	}
}

struct range {
	uint64_t from, to;
};

static bool in_table(const struct elf *f, const struct section *s, size_t i, const struct range *code)
{
	int64_t v = (int64_t)reference_field(bytes(f, s->offset + i), 4);
	int64_t to = (int64_t)(s->address + i) + v;

	return v < 0 && to >= (int64_t)code->from - TABLE_FAR && to < (int64_t)code->to;
}

/* Jump tables among constants: numbers relative to the table's begin, which code refers to. Code lies before them. */
static void scan_tables(struct elf *f, const struct section *s, const struct range *code, const struct labels *labels)
{
	const bool labelled = labels->size == s->size && labels->address == s->address;
	struct references *x = &f->refs;

	for (size_t i = 0, end; i + 4 <= s->size; i = MAX(end, i + 4)) {
		for (end = i; end + 4 <= s->size && in_table(f, s, end, code); end += 4)
			;
		for (size_t k = i; end - i >= TABLE_RUN * 4 && k < end; k += 4) {
			if (k == i || (labelled && labels->bits[k / 32] >> k / 4 % 8 & 1)) {
				VEC_GROW(x->tables, x->n_tables, x->cap_tables);
				x->tables[x->n_tables++] = (uint32_t)(s->offset + k);
			}
			add(f, s->offset + k, REF_TABLE);
		}
	}
}

static void scan_section(struct elf *f, const struct section *s, const struct range *code, struct labels *labels)
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
	const bool placed = address_of(f, s->offset) == s->address;
	if (s->flags & SHF_EXECINSTR && placed)
		scan_code(f, s, labels);
	else if (strcmp(s->name, ".eh_frame_hdr") == 0 && s->address == f->frame_header)
		scan_frame_header(f, s);
	else if (strcmp(s->name, ".eh_frame") == 0 && placed)
		scan_frames(f, s);
	else if (s->flags & SHF_WRITE || (f->fixed && strcmp(s->name, ".rodata") == 0))
		scan_words(f, s);
	else if (strcmp(s->name, ".rodata") == 0 && placed)
		scan_tables(f, s, code, labels);
}

/* names: of the strings, NUL at the end. false: it is not in the file */
static bool read_section(const struct elf *f, uint64_t header, struct range names, struct section *out)
{
	const uint8_t *h = bytes(f, header);
	const uint64_t name = names.from + le32_at(h);

	*out = (struct section){
		.type = le32_at(h + offsetof(Elf64_Shdr, sh_type)),
		.flags = le64_at(h + offsetof(Elf64_Shdr, sh_flags)),
		.address = le64_at(h + offsetof(Elf64_Shdr, sh_addr)),
		.offset = le64_at(h + offsetof(Elf64_Shdr, sh_offset)),
		.size = le64_at(h + offsetof(Elf64_Shdr, sh_size)),
	};
	if (name < names.to)
		memcpy(out->name, bytes(f, name), MIN(names.to - name, sizeof(out->name) - 1));
	return out->type != SHT_NOBITS && out->offset <= f->view->len && out->size <= f->view->len - out->offset;
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
	const uint8_t *p = bytes(f, 0);
	uint64_t at = le64_at(p + offsetof(Elf64_Ehdr, e_shoff));
	unsigned n = le16_at(p + offsetof(Elf64_Ehdr, e_shnum)), k = le16_at(p + offsetof(Elf64_Ehdr, e_shstrndx));
	struct range names = {0};
	struct section s;
	size_t read = 0;

	if (at > f->view->len || n * sizeof(Elf64_Shdr) > f->view->len - at)
		return 0;
	if (k < n && read_section(f, at + k * sizeof(Elf64_Shdr), names, &s) && s.size > 0 &&
	    *bytes(f, s.offset + s.size - 1) == '\0')
		names = (struct range){s.offset, s.offset + s.size};
	struct section *sections = xcalloc(n + 1, sizeof(*sections));
	for (unsigned i = 0; i < n; i++)
		if (read_section(f, at + i * sizeof(Elf64_Shdr), names, &s))
			sections[read++] = s;
	qsort(sections, read, sizeof(*sections), by_offset);
	*out = sections;
	return read;
}

void elf_find_references(struct elf *f)
{
	_cleanup_free_ struct section *sections = NULL;
	_cleanup_free_ uint8_t *bits = NULL;
	struct references *x = &f->refs;
	struct range code = {.from = INT64_MAX};
	struct labels labels = {0};
	uint64_t done = 0;

	if (!f->machine || f->view->len > ELF_MAX)
		return;
	x->pages = xcalloc((f->view->len >> PAGE_BITS) + 2, sizeof(*x->pages));
	size_t n = read_sections(f, &sections);
	for (size_t i = 0; i < n; i++) {
		const struct section *s = &sections[i];
		if (s->type == SHT_DYNSYM)
			f->symbols = s->address;
		if (s->flags & SHF_EXECINSTR && s->address >= f->low && s->address < f->high) {
			code.from = MIN(code.from, s->address);
			code.to = MAX(code.to, s->address + s->size);
		}
		if (!bits && strcmp(s->name, ".rodata") == 0) {
			bits = xcalloc(s->size / 32 + 1, 1);
			labels = (struct labels){s->address, s->size, bits};
		}
	}
	for (size_t i = 0; i < n; i++) {
		if (sections[i].offset < done)
			continue;
		scan_section(f, &sections[i], &code, &labels);
		done = sections[i].offset + sections[i].size;
	}
	turn_pages(x, (f->view->len >> PAGE_BITS) + 1);
}

struct reference_walk references_from(const struct elf *f, uint64_t at)
{
	const struct references *x = &f->refs;
	const size_t page = at >> PAGE_BITS;

	if (page + 1 >= x->n_pages)
		return (struct reference_walk){x->n, page};
	size_t low = x->pages[page], high = x->pages[page + 1];
	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		if ((x->items[middle] & PAGE_MASK) < (at & PAGE_MASK))
			low = middle + 1;
		else
			high = middle;
	}
	return (struct reference_walk){low, page};
}

bool references_next(const struct elf *f, struct reference_walk *w, struct reference *out)
{
	const struct references *x = &f->refs;

	if (w->i >= x->n)
		return false;
	while (w->i >= x->pages[w->page + 1])
		w->page++;
	const uint16_t item = x->items[w->i++];
	*out = (struct reference){.at = (w->page << PAGE_BITS) | (item & PAGE_MASK),
				  .kind = (enum reference_kind)(item >> PAGE_BITS)};
	return true;
}

/* The last table that begins here or before */
static uint64_t table_of(const struct references *x, uint64_t at)
{
	size_t low = 0, high = x->n_tables;

	while (high - low > 1) {
		const size_t middle = low + (high - low) / 2;
		if (x->tables[middle] <= at)
			low = middle;
		else
			high = middle;
	}
	return x->tables[low];
}

void reference_resolve(const struct elf *f, struct reference *r, const uint8_t *p)
{
	const uint64_t field = reference_field(p, reference_size(r->kind));
	uint64_t target = field;

	switch (r->kind) {
	case REF_PC:
	case REF_PC_1:
	case REF_PC_4:
	case REF_HERE:
		target = address_of(f, r->at) + behind(r->kind) + field;
		break;
	case REF_BACK:
		target = address_of(f, r->at) - (uint32_t)field;
		break;
	case REF_HEADER:
		target = f->frame_header + field;
		break;
	case REF_TABLE:
		target = address_of(f, table_of(&f->refs, r->at));
		r->table = (uint32_t)(target - f->low);
		target += field;
		break;
	case REF_SYMBOL:
		target = f->symbols + (uint32_t)field * SYMBOL_SIZE;
		break;
	case REF_ADDRESS4:
		target = (uint32_t)field;
		break;
	case REF_ADDRESS:
		break;
	}
	r->target = (uint32_t)(target - f->low);
}

/* ---- what they become ---- */

void predictor_clear(struct predictor *p)
{
	elf_clear(&p->old);
	elf_clear(&p->new);
	free(p->ranges);
	free(p->pages);
	free(p->known);
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
	size_t n_sorted = 0, n_pages = (p->old.view->len >> PAGE_BITS) + 2, page = 0;
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
	free(p->known);
	p->known = xcalloc((1U << LEARNED_BITS) / 64, sizeof(*p->known));
	free(p->learned);
	p->learned = xmalloc(sizeof(*p->learned) << LEARNED_BITS);
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

	if (p->known[at / 64] >> at % 64 & 1 && p->learned[at].from == target && target != 0)
		return p->learned[at].to;
	for (unsigned i = 0; i < p->old.n_segments; i++) {
		const struct segment *s = &p->old.segments[i];
		if (a < s->address || a - s->address >= s->memory)
			continue;
		if (a - s->address < s->size && a - s->address + s->offset < p->old.view->len)
			return (uint32_t)(address_of(&p->new, map_offset(p, a - s->address + s->offset)) - p->new.low);
		/* memory behind what the file has */
		if (i < p->new.n_segments)
			return (uint32_t)(a - s->address - s->size + p->new.segments[i].address +
					  p->new.segments[i].size - p->new.low);
	}
	return target;
}

/* What is added to a target to have the field, or the field from it for REF_BACK */
static inline uint64_t base_of(struct predictor *p, const struct reference *r, uint64_t new_at)
{
	enum reference_kind kind = r->kind;

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
		return p->new.low + predictor_target(p, r->table);
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
	p->known[at / 64] |= UINT64_C(1) << at % 64;
	p->learned[at].from = r->target;
	p->learned[at].to = (uint32_t)(target - p->new.low);
}
