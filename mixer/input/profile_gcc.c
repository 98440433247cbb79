/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What gcc -fauto-profile reads. All numbers are of 32 bits, those of 64 two of them, the lower first; little-endian.
 *
 *     "adcg" 2 0
 *     aa000000 0 names       (bytes, with the NUL; the text) for each; the first is empty
 *     ac000000 0 functions   head (64) function for each
 *     ae000000 0 0
 *
 *     function  = name lines calls  line for each  call for each      without the name, when it is one of a call
 *     line      = place targets count (64)  (7 name (64) count (64)) for each target
 *     call      = place name function
 *     place     = line << 16 | discriminator
 *
 * gcc's auto-profile.cc is the only other place where this is written.
 */
#include <stdlib.h>
#include <string.h>

#include "mixer/input/profile.h"
#include "swupd/base/err.h"
#include "swupd/base/text.h"

enum { TAG_NAMES = 0xaa, TAG_FUNCTIONS = 0xac, TAG_MODULES = 0xae, VERSION = 2, CALL_BY_POINTER = 7 };
#define NAMES_MAX (1U << 24)

struct writer {
	struct buf *out;
	struct strv names;
	bool discriminators;
};

static void put(struct writer *w, uint32_t x)
{
	const uint8_t bytes[4] = {(uint8_t)x, (uint8_t)(x >> 8), (uint8_t)(x >> 16), (uint8_t)(x >> 24)};

	buf_add(w->out, bytes, sizeof(bytes));
}

static void put_wide(struct writer *w, uint64_t x)
{
	/* gcc's own are signed */
	x = MIN(x, (uint64_t)INT64_MAX);
	put(w, (uint32_t)x);
	put(w, (uint32_t)(x >> 32));
}

static void put_tag(struct writer *w, uint32_t tag)
{
	put(w, tag << 24);
	put(w, 0);
}

static void names_collect(struct writer *w, const struct profile_function *f)
{
	strv_add(&w->names, f->name);
	for (size_t i = 0; i < f->n_lines; i++)
		for (size_t k = 0; k < f->lines[i].n_targets; k++)
			strv_add(&w->names, f->lines[i].targets[k].name);
	for (size_t i = 0; i < f->n_calls; i++)
		names_collect(w, &f->calls[i]);
}

/* Names are sorted, behind the empty one. */
static uint32_t name_index(const struct writer *w, const char *name)
{
	char **found = bsearch(&name, w->names.items, w->names.n, sizeof(char *), text_compare);

	return (uint32_t)(found - w->names.items);
}

static uint32_t place(const struct profile_place *p)
{
	return (p->line & 0xffff) << 16 | (p->discriminator & 0xffff);
}

static void body_write(struct writer *w, const struct profile_function *f)
{
	put(w, (uint32_t)f->n_lines);
	put(w, (uint32_t)f->n_calls);
	for (size_t i = 0; i < f->n_lines; i++) {
		const struct profile_line *l = &f->lines[i];
		put(w, place(&l->place));
		put(w, (uint32_t)l->n_targets);
		put_wide(w, l->count);
		for (size_t k = 0; k < l->n_targets; k++) {
			put(w, CALL_BY_POINTER);
			put_wide(w, name_index(w, l->targets[k].name));
			put_wide(w, l->targets[k].count);
		}
	}
	for (size_t i = 0; i < f->n_calls; i++) {
		put(w, place(&f->calls[i].place));
		put(w, name_index(w, f->calls[i].name));
		body_write(w, &f->calls[i]);
	}
}

/* A copy of from, appended to a function that is into, without discriminators: blocks of one line become one. */
static void plain_copy(struct profile_function *into, const struct profile_function *from)
{
	into->head = from->head;
	for (size_t i = 0; i < from->n_lines; i++) {
		const struct profile_line *l = &from->lines[i];
		struct profile_line *copy =
			profile_line_add(into, (struct profile_place){.line = l->place.line}, l->count);
		for (size_t k = 0; k < l->n_targets; k++)
			profile_target_add(copy, l->targets[k].name, l->targets[k].count);
	}
	for (size_t i = 0; i < from->n_calls; i++)
		plain_copy(profile_call_add(into, (struct profile_place){.line = from->calls[i].place.line},
					    from->calls[i].name),
			   &from->calls[i]);
}

static void function_write(struct writer *w, const struct profile_function *f)
{
	struct profile_function plain = {.name = f->name};

	put_wide(w, f->head);
	put(w, name_index(w, f->name));
	if (w->discriminators) {
		body_write(w, f);
		return;
	}
	plain_copy(&plain, f);
	profile_function_fold(&plain, PROFILE_MAX);
	body_write(w, &plain);
	profile_function_clear(&plain);
}

int profile_write_gcc(const struct profile *p, unsigned major, struct buf *out, struct err *e)
{
	struct writer w = {.out = out, .discriminators = major >= 13};

	for (size_t i = 0; i < p->n_functions; i++)
		names_collect(&w, &p->functions[i]);
	strv_add(&w.names, "");
	strv_sort_unique(&w.names);
	if (w.names.n > NAMES_MAX) {
		strv_free(&w.names);
		return err_set(e, -ERR_LIMIT, "a profile of more than %u names", NAMES_MAX);
	}
	buf_add(out, "adcg", 4);
	put(&w, VERSION);
	put(&w, 0);
	put_tag(&w, TAG_NAMES);
	put(&w, (uint32_t)w.names.n);
	for (size_t i = 0; i < w.names.n; i++) {
		put(&w, (uint32_t)strlen(w.names.items[i]) + 1);
		buf_add(out, w.names.items[i], strlen(w.names.items[i]) + 1);
	}
	put_tag(&w, TAG_FUNCTIONS);
	put(&w, (uint32_t)p->n_functions);
	for (size_t i = 0; i < p->n_functions; i++)
		function_write(&w, &p->functions[i]);
	put_tag(&w, TAG_MODULES);
	put(&w, 0);
	strv_free(&w.names);
	return 0;
}
