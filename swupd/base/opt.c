/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/opt.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

static const struct opt *find(const struct opt_table *tables, size_t n, char short_name, const char *name, size_t len,
			      void **into)
{
	for (size_t t = 0; t < n; t++)
		for (const struct opt *o = tables[t].opts; o && o->long_name; o++)
			if (name ? strlen(o->long_name) == len && memcmp(o->long_name, name, len) == 0
				 : o->short_name == short_name) {
				*into = tables[t].into;
				return o;
			}
	return NULL;
}

static int store(const struct opt *o, void *into, const char *value, struct err *e)
{
	void *field = (char *)into + o->offset;

	switch (o->kind) {
	case OPT_FLAG:
		*(bool *)field = true;
		break;
	case OPT_STRING:
		*(const char **)field = value;
		break;
	case OPT_U32:
		if (text_u32(value, o->min, o->max ? o->max : UINT32_MAX, field) < 0)
			return err_set(e, -ERR_USAGE, "--%s: '%s' is not a number from %u to %u", o->long_name, value,
				       o->min, o->max ? o->max : UINT32_MAX);
		break;
	case OPT_LIST:
		strv_split(field, value, ",");
		break;
	}
	return 0;
}

static int parse_long(const struct opt_table *tables, size_t n, int argc, char *const *argv, int *i, struct err *e)
{
	const char *name = argv[*i] + 2;
	size_t len = strcspn(name, "=");
	const char *value = name[len] ? name + len + 1 : NULL;
	void *into;

	const struct opt *o = find(tables, n, 0, name, len, &into);
	if (!o)
		return err_set(e, -ERR_USAGE, "no such option: '%s'", argv[*i]);
	if (o->kind == OPT_FLAG && value)
		return err_set(e, -ERR_USAGE, "--%s takes no argument", o->long_name);
	if (o->kind != OPT_FLAG && !value) {
		if (*i + 1 >= argc)
			return err_set(e, -ERR_USAGE, "--%s needs an argument (%s)", o->long_name, o->arg);
		value = argv[++*i];
	}
	return store(o, into, value, e);
}

static int parse_short(const struct opt_table *tables, size_t n, int argc, char *const *argv, int *i, struct err *e)
{
	for (const char *c = argv[*i] + 1; *c; c++) {
		void *into;
		const struct opt *o = find(tables, n, *c, NULL, 0, &into);
		if (!o)
			return err_set(e, -ERR_USAGE, "no such option: '-%c'", *c);
		const char *value = NULL;
		if (o->kind != OPT_FLAG) {
			if (!c[1] && *i + 1 >= argc)
				return err_set(e, -ERR_USAGE, "-%c needs an argument (%s)", *c, o->arg);
			value = c[1] ? c + 1 : argv[++*i];
		}
		int r = store(o, into, value, e);
		if (r < 0 || value)
			return r;
	}
	return 0;
}

int opt_parse(const struct opt_table *tables, size_t n, int argc, char *const *argv, struct strv *args, struct err *e)
{
	bool options = true;

	for (int i = 1; i < argc; i++) {
		int r = 0;
		if (options && strcmp(argv[i], "--") == 0)
			options = false;
		else if (options && text_starts(argv[i], "--"))
			r = parse_long(tables, n, argc, argv, &i, e);
		else if (options && argv[i][0] == '-' && argv[i][1])
			r = parse_short(tables, n, argc, argv, &i, e);
		else
			strv_add(args, argv[i]);
		if (r < 0)
			return r;
	}
	return 0;
}

int opt_set(const struct opt_table *tables, size_t n, const char *long_name, const char *value, struct err *e)
{
	void *into;
	const struct opt *o = find(tables, n, 0, long_name, strlen(long_name), &into);

	if (!o)
		return err_set(e, -ENOENT, "no such option: '%s'", long_name);
	if (o->kind == OPT_FLAG) {
		*(bool *)((char *)into + o->offset) = strcasecmp(value, "true") == 0;
		return 0;
	}
	return store(o, into, value, e);
}

void opt_print(FILE *to, const struct opt *opts)
{
	const int column = 32; /* where the help text starts; texts are at most 48 characters (tests/func/help.bats) */

	for (const struct opt *o = opts; o && o->long_name; o++) {
		if (!o->help)
			continue;
		_cleanup_free_ char *left = o->short_name ? xasprintf("  -%c, --%s%s%s", o->short_name, o->long_name,
								      o->arg ? "=" : "", o->arg ? o->arg : "")
							  : xasprintf("      --%s%s%s", o->long_name, o->arg ? "=" : "",
								      o->arg ? o->arg : "");
		if ((int)strlen(left) >= column)
			fprintf(to, "%s\n%*s%s\n", left, column, "", o->help);
		else
			fprintf(to, "%-*s%s\n", column, left, o->help);
	}
}

void opt_free(const struct opt *opts, void *into)
{
	for (const struct opt *o = opts; o && o->long_name; o++)
		if (o->kind == OPT_LIST)
			strv_free((struct strv *)(void *)((char *)into + o->offset));
}

static int words_matching(const char *name, int argc, char *const *argv)
{
	int used = 0;

	for (;;) {
		size_t len = strcspn(name, " ");
		if (used >= argc || strlen(argv[used]) != len || memcmp(argv[used], name, len) != 0)
			return 0;
		used++;
		if (!name[len])
			return used;
		name += len + 1;
	}
}

const struct command *command_find(const struct command *const *list, int argc, char *const *argv, int *used)
{
	const struct command *best = NULL;

	*used = 0;
	for (; *list; list++) {
		int n = words_matching((*list)->name, argc, argv);
		if (n > *used) {
			*used = n;
			best = *list;
		}
	}
	return best;
}
