/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/symbolize.h"

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mixer/input/elf_functions.h"
#include "mixer/input/profile.h"
#include "mixer/step/profile_files.h"
#include "swupd/base/err.h"

#define DW_AT_GNU_discriminator 0x2136 /* of gcc and clang; elfutils 0.188 does not know it */

#define DEPTH_MAX 48  /* of functions inlined in each other; what is deeper counts for the last. profile.c reads 64 */
#define TREE_MAX  512 /* of entries in each other: hostile ones do not end */

/* --- samples --------------------------------------------------------------------------------------------------------------- */

struct edge {
	uint64_t at;
	uint64_t count; /* added from here on, or no more */
	bool ends;
};

static int by_at(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* Ranges may overlap, since a jump may lead into the midst of another block: what each byte ran is their sum. */
static void ranges_fold(struct elf_file *f)
{
	struct edge *edges = xcalloc(2 * f->n_ranges + 1, sizeof(*edges));
	struct sample_range *out = xcalloc(2 * f->n_ranges + 1, sizeof(*out));
	size_t n = 0, n_out = 0;
	uint64_t count = 0;

	for (size_t i = 0; i < f->n_ranges; i++) {
		edges[n++] = (struct edge){f->ranges[i].start, f->ranges[i].count, false};
		edges[n++] = (struct edge){f->ranges[i].end, f->ranges[i].count, true};
	}
	qsort(edges, n, sizeof(*edges), by_at);
	for (size_t i = 0; i < n;) {
		uint64_t at = edges[i].at;
		for (; i < n && edges[i].at == at; i++)
			count += edges[i].ends ? -edges[i].count : edges[i].count;
		if (i == n || count == 0)
			continue;
		if (n_out && out[n_out - 1].end == at && out[n_out - 1].count == count)
			out[n_out - 1].end = edges[i].at;
		else
			out[n_out++] = (struct sample_range){at, edges[i].at, count};
	}
	free(edges);
	free(f->ranges);
	f->ranges = out;
	f->n_ranges = n_out;
	f->cap_ranges = 2 * n + 1;
}

static int by_from(const void *a, const void *b)
{
	const struct sample_call *x = a, *y = b;

	return x->from < y->from ? -1 : x->from > y->from;
}

/* The first range that ends behind address. */
static size_t range_behind(const struct elf_file *f, uint64_t address)
{
	size_t low = 0, high = f->n_ranges;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (f->ranges[mid].end <= address)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static uint64_t count_at(const struct elf_file *f, uint64_t address)
{
	size_t i = range_behind(f, address);

	return i < f->n_ranges && f->ranges[i].start <= address ? f->ranges[i].count : 0;
}

/* --- names of functions by address ------------------------------------------------------------------------------------------- */

struct symbol {
	uint64_t address;
	const char *name;
	bool global;
};

/* An open debug file, or the ELF file itself, and what is in it. */
struct debug {
	int fd;
	Elf *elf;
	Dwarf *dwarf;
	int alt_fd;
	Dwarf *alt;
	struct symbol *symbols; /* of functions, by address; names are the ELF file's */
	size_t n_symbols, cap_symbols;
	bool failed;
};

static void debug_close(struct debug *d)
{
	if (d->dwarf)
		dwarf_end(d->dwarf);
	if (d->alt)
		dwarf_end(d->alt);
	if (d->elf)
		elf_end(d->elf);
	closep(&d->fd);
	closep(&d->alt_fd);
	free(d->symbols);
}

static int by_address(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	return x->global != y->global ? (x->global ? -1 : 1) : strcmp(x->name, y->name);
}

static void symbol_add(void *arg, const char *name, const GElf_Sym *symbol)
{
	struct debug *d = arg;

	if (!symbol->st_value)
		return;
	VEC_GROW(d->symbols, d->n_symbols, d->cap_symbols);
	d->symbols[d->n_symbols++] =
		(struct symbol){symbol->st_value, name, GELF_ST_BIND(symbol->st_info) == STB_GLOBAL};
}

static void symbols_read(struct debug *d)
{
	elf_each_function(d->elf, symbol_add, d);
	if (d->n_symbols)
		qsort(d->symbols, d->n_symbols, sizeof(*d->symbols), by_address);
}

/* The name of the function that begins there. */
static const char *symbol_at(const struct debug *d, uint64_t address)
{
	size_t low = 0, high = d->n_symbols;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (d->symbols[mid].address < address)
			low = mid + 1;
		else
			high = mid;
	}
	return low < d->n_symbols && d->symbols[low].address == address ? d->symbols[low].name : NULL;
}

/* What dwz has put into a file of its own, since several programs have it. */
static void alt_open(struct debug *d, const struct debug_files *files)
{
	const char *name;
	const void *want, *has = NULL;
	ssize_t len = dwelf_dwarf_gnu_debugaltlink(d->dwarf, &name, &want);

	if (len <= 0 || len > 64)
		return;
	char hex[2 * 64 + 1];
	text_hex(want, (size_t)len, hex);
	d->alt_fd = debug_files_open(files, hex, name, NULL);
	if (d->alt_fd < 0)
		return;
	d->alt = dwarf_begin(d->alt_fd, DWARF_C_READ);
	/* another build's would give other names */
	if (d->alt && dwelf_elf_gnu_build_id(dwarf_getelf(d->alt), &has) == len && memcmp(want, has, (size_t)len) == 0)
		dwarf_setalt(d->dwarf, d->alt);
}

/* From the file itself when it was not stripped, else from what belongs to its build-id. With want_lines: only if that has lines. false: there is nothing. */
static bool debug_open(const struct elf_file *f, const struct debug_files *files, bool want_lines, struct debug *out)
{
	*out = (struct debug){.fd = -1, .alt_fd = -1};
	for (int turn = 0; turn < 2; turn++) {
		/* libdw may write where it decompresses, never into the file */
		if (turn == 0 && f->build_id)
			out->fd = debug_files_open(files, f->build_id, NULL, NULL);
		out->elf = turn == 1      ? elf_memory((char *)f->map, f->size)
			   : out->fd >= 0 ? elf_begin(out->fd, ELF_C_READ_MMAP, NULL)
					  : NULL;
		if (!out->elf)
			continue;
		if (want_lines) {
			out->dwarf = dwarf_begin_elf(out->elf, DWARF_C_READ, NULL);
			Dwarf_CU *cu = NULL;
			if (out->dwarf && dwarf_get_units(out->dwarf, NULL, &cu, NULL, NULL, NULL, NULL) != 0)
				cu = NULL;
			if (out->dwarf && !cu) {
				dwarf_end(out->dwarf);
				out->dwarf = NULL;
			}
		}
		if (out->dwarf || (!want_lines && (symbols_read(out), out->n_symbols))) {
			if (out->dwarf)
				alt_open(out, files);
			return true;
		}
		elf_end(out->elf);
		out->elf = NULL;
		closep(&out->fd);
		out->fd = -1;
	}
	return false;
}

/* --- scopes: a function, and what is inlined in it -------------------------------------------------------------------------- */

struct scope {
	const char *name; /* the profile's */
	int line;         /* that it is declared in */
	struct profile_place call;
	struct span {
		uint64_t start, end;
	} * spans;
	size_t n_spans, cap_spans;
	struct scope *children;
	size_t n, cap;
};

struct symbolizer {
	struct elf_set *set;
	struct elf_file *file;
	struct debug debug;
	struct debug *targets; /* of all files of the set, opened when asked for */
	const struct debug_files *files;
	struct profile *profile;
	struct symbolized *stats;
	Dwarf_Lines *lines; /* of the unit */
	size_t n_lines;
	bool clang;
};

static void scope_clear(struct scope *s)
{
	for (size_t i = 0; i < s->n; i++)
		scope_clear(&s->children[i]);
	free(s->children);
	free(s->spans);
}

static Dwarf_Word number_of(Dwarf_Die *die, unsigned name, bool inherited)
{
	Dwarf_Attribute a;
	Dwarf_Word value;

	if (!(inherited ? dwarf_attr_integrate(die, name, &a) : dwarf_attr(die, name, &a)) ||
	    dwarf_formudata(&a, &value) != 0)
		return 0;
	return value;
}

static const char *name_of(struct symbolizer *x, Dwarf_Die *die)
{
	Dwarf_Attribute a;
	const char *name = NULL;

	if (dwarf_attr_integrate(die, DW_AT_linkage_name, &a) || dwarf_attr_integrate(die, DW_AT_MIPS_linkage_name, &a))
		name = dwarf_formstring(&a);
	if (!name)
		name = dwarf_diename(die);
	if (!name || !*name)
		return NULL;
	/* what would break the text of a profile is no name of a function */
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return NULL;
	return profile_name(x->profile, name, strlen(name));
}

/* How often clang's loop transformations have copied it, and which part of it: bits 0..6 or 0..13 say the block, as LLVM's DILocation does. */
static uint32_t clang_part(uint32_t d)
{
	if (d & 1)
		return 0;
	d >>= 1;
	return d & 0x20 ? ((d >> 1 & 0xfe0) | (d & 0x1f)) : (d & 0x1f);
}

static uint32_t discriminator(const struct symbolizer *x, uint64_t value)
{
	return x->clang ? clang_part((uint32_t)value) : (uint32_t)value & 0xffff;
}

static struct profile_place place(const struct symbolizer *x, int line, const struct scope *s, uint64_t d)
{
	return (struct profile_place){(uint32_t)(line - s->line) & 0xffff, discriminator(x, d)};
}

static void spans_read(Dwarf_Die *die, struct scope *s)
{
	ptrdiff_t offset = 0;
	Dwarf_Addr base, start, end;

	while ((offset = dwarf_ranges(die, offset, &base, &start, &end)) > 0) {
		VEC_GROW(s->spans, s->n_spans, s->cap_spans);
		s->spans[s->n_spans++] = (struct span){start, end};
	}
}

static bool scope_has(const struct scope *s, uint64_t address)
{
	for (size_t i = 0; i < s->n_spans; i++)
		if (address >= s->spans[i].start && address < s->spans[i].end)
			return true;
	return false;
}

/* What is inlined below die, into s; blocks of a function are no scopes of their own. */
static void scopes_read(struct symbolizer *x, Dwarf_Die *die, struct scope *s, unsigned depth, unsigned inlined)
{
	Dwarf_Die child;

	if (depth == TREE_MAX || dwarf_child(die, &child) != 0)
		return;
	do {
		int tag = dwarf_tag(&child);
		if (tag == DW_TAG_lexical_block) {
			scopes_read(x, &child, s, depth + 1, inlined);
		} else if (tag == DW_TAG_inlined_subroutine && inlined < DEPTH_MAX) {
			struct scope in = {.name = name_of(x, &child),
					   .line = (int)number_of(&child, DW_AT_decl_line, true)};
			in.call = place(x, (int)number_of(&child, DW_AT_call_line, false), s,
					number_of(&child, DW_AT_GNU_discriminator, false));
			spans_read(&child, &in);
			/* of what has no name the instructions count for who called it */
			if (!in.name || !in.n_spans) {
				scope_clear(&in);
				continue;
			}
			scopes_read(x, &child, &in, depth + 1, inlined + 1);
			VEC_GROW(s->children, s->n, s->cap);
			s->children[s->n++] = in;
		}
	} while (dwarf_siblingof(&child, &child) == 0);
}

/* --- lines ------------------------------------------------------------------------------------------------------------------ */

/* The last row of the table that is not behind address; n_lines: there is none. */
static size_t row_at(const struct symbolizer *x, uint64_t address)
{
	size_t low = 0, high = x->n_lines;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		Dwarf_Addr at = 0;
		(void)dwarf_lineaddr(dwarf_onesrcline(x->lines, mid), &at);
		if (at <= address)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? low - 1 : x->n_lines;
}

/* Line and discriminator at address; what they are up to is *end. 0: there is none. */
static int line_at(const struct symbolizer *x, uint64_t address, unsigned *d, uint64_t *end)
{
	size_t row = row_at(x, address);
	Dwarf_Addr next = UINT64_MAX;
	bool ends = false;
	int line = 0;

	*d = 0;
	*end = UINT64_MAX;
	if (row == x->n_lines) {
		if (x->n_lines && dwarf_lineaddr(dwarf_onesrcline(x->lines, 0), &next) == 0)
			*end = next;
		return 0;
	}
	if (row + 1 < x->n_lines && dwarf_lineaddr(dwarf_onesrcline(x->lines, row + 1), &next) == 0)
		*end = next;
	Dwarf_Line *l = dwarf_onesrcline(x->lines, row);
	if (dwarf_lineendsequence(l, &ends) != 0 || ends || dwarf_lineno(l, &line) != 0 ||
	    dwarf_linediscriminator(l, d) != 0)
		return 0;
	return line;
}

/* The innermost scope at address, and the function of the profile that it is, in f; all is the same up to *end. */
static const struct scope *scope_at(const struct scope *s, uint64_t address, struct profile_function **f, uint64_t *end)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct scope *in = &s->children[i];
		for (size_t k = 0; k < in->n_spans; k++) {
			if (in->spans[k].start > address)
				*end = MIN(*end, in->spans[k].start);
			else if (in->spans[k].end > address)
				*end = MIN(*end, in->spans[k].end);
		}
		if (!scope_has(in, address))
			continue;
		struct profile_function *last = (*f)->n_calls ? &(*f)->calls[(*f)->n_calls - 1] : NULL;
		*f = last && last->name == in->name && last->place.line == in->call.line &&
				     last->place.discriminator == in->call.discriminator
			     ? last
			     : profile_call_add(*f, in->call, in->name);
		return scope_at(in, address, f, end);
	}
	return s;
}

static void range_take(struct symbolizer *x, const struct scope *root, struct profile_function *root_function,
		       uint64_t start, uint64_t end, uint64_t count)
{
	while (start < end) {
		struct profile_function *f = root_function;
		uint64_t next;
		unsigned d;
		int line = line_at(x, start, &d, &next);
		if (line) {
			const struct scope *s = scope_at(root, start, &f, &next);
			(void)profile_line_add(f, place(x, line, s, d), count);
			x->stats->lines += (MIN(next, end) - start) * count;
		}
		start = MIN(next, end);
	}
}

static const char *target_name(struct symbolizer *x, const struct sample_call *c)
{
	struct debug *d = &x->targets[c->file];

	if (!d->elf && !d->failed)
		d->failed = !debug_open(&x->set->files[c->file], x->files, false, d);
	const char *name = d->failed ? NULL : symbol_at(d, c->to);
	return name ? profile_name(x->profile, name, strcspn(name, "@")) : NULL;
}

static void calls_take(struct symbolizer *x, const struct scope *root, struct profile_function *root_function,
		       const struct span *span)
{
	const struct sample_call *calls = x->file->calls;
	size_t low = 0, high = x->file->n_calls;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (calls[mid].from < span->start)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < x->file->n_calls && calls[low].from < span->end; low++) {
		struct profile_function *f = root_function;
		uint64_t next;
		unsigned d;
		int line = line_at(x, calls[low].from, &d, &next);
		const char *name = line ? target_name(x, &calls[low]) : NULL;
		if (!name)
			continue;
		const struct scope *s = scope_at(root, calls[low].from, &f, &next);
		profile_target_add(profile_line_add(f, place(x, line, s, d), 0), name, calls[low].count);
	}
}

/* A function with code of its own. */
static void function_take(struct symbolizer *x, Dwarf_Die *die)
{
	struct scope root = {0};
	struct profile_function f = {0};
	Dwarf_Addr entry;

	spans_read(die, &root);
	bool ran = false;
	for (size_t i = 0; i < root.n_spans && !ran; i++) {
		size_t k = range_behind(x->file, root.spans[i].start);
		ran = k < x->file->n_ranges && x->file->ranges[k].start < root.spans[i].end;
	}
	root.name = ran ? name_of(x, die) : NULL;
	if (!root.name) {
		scope_clear(&root);
		return;
	}
	root.line = (int)number_of(die, DW_AT_decl_line, true);
	scopes_read(x, die, &root, 0, 0);
	f.name = root.name;
	for (size_t i = 0; i < root.n_spans; i++) {
		const struct span *span = &root.spans[i];
		for (size_t k = range_behind(x->file, span->start);
		     k < x->file->n_ranges && x->file->ranges[k].start < span->end; k++)
			range_take(x, &root, &f, MAX(span->start, x->file->ranges[k].start),
				   MIN(span->end, x->file->ranges[k].end), x->file->ranges[k].count);
		calls_take(x, &root, &f, span);
	}
	/* of what is in several pieces, gcc says the one first that it begins in */
	f.head = count_at(x->file, dwarf_entrypc(die, &entry) == 0 ? entry : root.spans[0].start);
	scope_clear(&root);
	/* one copy's lines by their most, then copies by their sum */
	profile_function_fold(&f, PROFILE_MAX);
	*profile_add(x->profile, f.name) = f;
}

/* Functions below die: in namespaces, types, and in each other. */
static void functions_take(struct symbolizer *x, Dwarf_Die *die, unsigned depth)
{
	Dwarf_Die child;

	if (depth == TREE_MAX || dwarf_child(die, &child) != 0)
		return;
	do {
		switch (dwarf_tag(&child)) {
		case DW_TAG_subprogram:
			function_take(x, &child);
			functions_take(x, &child, depth + 1);
			break;
		case DW_TAG_namespace:
		case DW_TAG_module:
		case DW_TAG_class_type:
		case DW_TAG_structure_type:
		case DW_TAG_union_type:
		case DW_TAG_lexical_block:
			functions_take(x, &child, depth + 1);
			break;
		}
	} while (dwarf_siblingof(&child, &child) == 0);
}

static bool unit_ran(const struct symbolizer *x, Dwarf_Die *unit)
{
	ptrdiff_t offset = 0;
	Dwarf_Addr base, start, end;

	while ((offset = dwarf_ranges(unit, offset, &base, &start, &end)) > 0) {
		size_t i = range_behind(x->file, start);
		if (i < x->file->n_ranges && x->file->ranges[i].start < end)
			return true;
	}
	return false;
}

static void unit_take(struct symbolizer *x, Dwarf_Die *unit)
{
	Dwarf_Attribute a;

	if (!unit_ran(x, unit) || dwarf_getsrclines(unit, &x->lines, &x->n_lines) != 0)
		return;
	const char *producer = dwarf_attr(unit, DW_AT_producer, &a) ? dwarf_formstring(&a) : NULL;
	x->clang = producer && strstr(producer, "clang");
	functions_take(x, unit, 0);
}

int symbolize(struct elf_set *s, size_t i, const struct debug_files *d, struct profile *p, struct symbolized *out,
	      struct err *e)
{
	struct elf_file *f = &s->files[i];
	struct symbolizer x = {.set = s, .file = f, .files = d, .profile = p, .stats = out};
	Dwarf_CU *cu = NULL;
	Dwarf_Die unit;
	uint8_t type;
	int r;

	*out = (struct symbolized){0};
	(void)elf_version(EV_CURRENT);
	if (!debug_open(f, d, true, &x.debug))
		return 0;
	ranges_fold(f);
	if (f->n_calls)
		qsort(f->calls, f->n_calls, sizeof(*f->calls), by_from);
	for (size_t k = 0; k < f->n_ranges; k++)
		out->sampled += (f->ranges[k].end - f->ranges[k].start) * f->ranges[k].count;
	x.targets = xcalloc(s->n, sizeof(*x.targets));
	for (size_t k = 0; k < s->n; k++)
		x.targets[k].fd = x.targets[k].alt_fd = -1;
	while ((r = dwarf_get_units(x.debug.dwarf, cu, &cu, NULL, &type, &unit, NULL)) == 0)
		if (type == DW_UT_compile)
			unit_take(&x, &unit);
	for (size_t k = 0; k < s->n; k++)
		debug_close(&x.targets[k]);
	free(x.targets);
	debug_close(&x.debug);
	return r < 0 ? err_set(e, -ERR_FORMAT, "%s: its debug information is damaged: %s", f->path, dwarf_errmsg(-1))
		     : 1;
}
