/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/step/accounts.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/text.h"

#define NOLOGIN "/usr/sbin/nologin"

struct user {
	char *name, *gecos, *home, *shell;
	char *group; /* whose number gid is; NULL: gid is known */
	uint32_t uid, gid;
	bool locked;
};

struct group {
	char *name;
	uint32_t gid;
	struct strv members;
};

struct membership {
	char *user, *group;
};

struct accounts {
	struct user *users;
	size_t n_users, cap_users;
	struct group *groups;
	size_t n_groups, cap_groups;
	struct membership *memberships;
	size_t n_memberships, cap_memberships;
};

struct accounts *accounts_new(void)
{
	return xcalloc(1, sizeof(struct accounts));
}

void accounts_free(struct accounts *a)
{
	if (!a)
		return;
	for (size_t i = 0; i < a->n_users; i++) {
		struct user *u = &a->users[i];
		free(u->name);
		free(u->gecos);
		free(u->home);
		free(u->shell);
		free(u->group);
	}
	for (size_t i = 0; i < a->n_groups; i++) {
		free(a->groups[i].name);
		strv_free(&a->groups[i].members);
	}
	for (size_t i = 0; i < a->n_memberships; i++) {
		free(a->memberships[i].user);
		free(a->memberships[i].group);
	}
	free(a->users);
	free(a->groups);
	free(a->memberships);
	free(a);
}

static struct user *user_find(const struct accounts *a, const char *name)
{
	for (size_t i = 0; i < a->n_users; i++)
		if (strcmp(a->users[i].name, name) == 0)
			return &a->users[i];
	return NULL;
}

static struct group *group_find(const struct accounts *a, const char *name)
{
	for (size_t i = 0; i < a->n_groups; i++)
		if (strcmp(a->groups[i].name, name) == 0)
			return &a->groups[i];
	return NULL;
}

static void group_add(struct accounts *a, const char *name, uint32_t gid)
{
	if (group_find(a, name))
		return;
	VEC_GROW(a->groups, a->n_groups, a->cap_groups);
	a->groups[a->n_groups++] = (struct group){.name = xstrdup(name), .gid = gid};
}

/* --- lines of sysusers.d ------------------------------------------------------------------------------------------------- */

/* Words between blanks; quotes join. "-" stands for none. */
static int split_words(const char *line, size_t len, struct strv *out, struct err *e)
{
	_cleanup_(buf_free) struct buf word = {0};
	const char *end = line + len;
	char quote = '\0';
	bool in = false;

	for (const char *p = line; p < end; p++) {
		const bool blank = *p == ' ' || *p == '\t' || *p == '\r';
		if (!quote && blank && in) {
			strv_add(out, word.data);
			word.len = 0;
			in = false;
		} else if (!quote && (*p == '"' || *p == '\'')) {
			quote = *p;
			buf_puts(&word, "");
			in = true;
		} else if (quote && *p == quote) {
			quote = '\0';
		} else if (quote || !blank) {
			buf_putc(&word, *p);
			in = true;
		}
	}
	if (quote)
		return err_set(e, -ERR_FORMAT, "a quote has no end");
	if (in)
		strv_add(out, word.data);
	return 0;
}

static const char *word_at(const struct strv *w, size_t i, const char *none)
{
	return i < w->n && strcmp(w->items[i], "-") != 0 && *w->items[i] ? w->items[i] : none;
}

/* Nothing that would end a field or a line of passwd. */
static bool is_field(const char *s)
{
	return strpbrk(s, ":\n") == NULL;
}

static int add_group(struct accounts *a, const struct strv *w)
{
	uint32_t gid;

	if (text_u32(word_at(w, 2, ""), 0, UINT32_MAX - 1, &gid) >= 0)
		group_add(a, w->items[1], gid);
	return 0;
}

/* "UID", "UID:GID" or "UID:GROUP" */
static int add_user(struct accounts *a, const struct strv *w, struct err *e)
{
	const char *name = w->items[1];
	_cleanup_free_ char *id = xstrdup(word_at(w, 2, ""));
	char *group = strchr(id, ':');
	struct user u = {.locked = strchr(w->items[0], '!') != NULL};

	if (group)
		*group++ = '\0';
	if (user_find(a, name) || text_u32(id, 0, UINT32_MAX - 1, &u.uid) < 0)
		return 0;
	const char *gecos = word_at(w, 3, ""), *home = word_at(w, 4, "/");
	const char *shell = word_at(w, 5, u.uid == 0 ? "/bin/sh" : NOLOGIN);
	if (!is_field(gecos) || !is_field(home) || !is_field(shell))
		return err_set(e, -ERR_FORMAT, "user '%s': a field has a ':'", name);
	u.gid = u.uid;
	if (!group)
		u.group = xstrdup(name);
	else if (text_u32(group, 0, UINT32_MAX - 1, &u.gid) < 0)
		u.group = xstrdup(group);
	u.name = xstrdup(name);
	u.gecos = xstrdup(gecos);
	u.home = xstrdup(home);
	u.shell = xstrdup(shell);
	VEC_GROW(a->users, a->n_users, a->cap_users);
	a->users[a->n_users++] = u;
	return 0;
}

static int add_member(struct accounts *a, const struct strv *w)
{
	if (w->n > 2) {
		VEC_GROW(a->memberships, a->n_memberships, a->cap_memberships);
		a->memberships[a->n_memberships++] =
			(struct membership){.user = xstrdup(w->items[1]), .group = xstrdup(w->items[2])};
	}
	return 0;
}

static int add_line(struct accounts *a, const char *line, size_t len, struct err *e)
{
	_cleanup_(strv_free) struct strv w = {0};
	int r = split_words(line, len, &w, e);

	if (r < 0 || w.n < 2 || *w.items[0] == '#')
		return r;
	if (!is_field(w.items[1]))
		return err_set(e, -ERR_FORMAT, "'%s' is not a name", w.items[1]);
	switch (*w.items[0]) {
	case 'g':
		return add_group(a, &w);
	case 'u':
		return add_user(a, &w, e);
	case 'm':
		return add_member(a, &w);
	default: /* ranges of numbers: everybody has one already */
		return 0;
	}
}

int accounts_add(struct accounts *a, const char *name, const char *text, size_t len, struct err *e)
{
	const char *pos = text, *line;
	size_t n;

	for (unsigned number = 1; text_line(&pos, text + len, &line, &n, NULL); number++) {
		int r = add_line(a, line, n, e);
		if (r < 0)
			return err_in(e, r, "%s:%u", name, number);
	}
	return 0;
}

/* --- the files ------------------------------------------------------------------------------------------------------------- */

static int compare_users(const void *a, const void *b)
{
	const struct user *const *x = a, *const *y = b;

	return (*x)->uid != (*y)->uid ? ((*x)->uid < (*y)->uid ? -1 : 1) : strcmp((*x)->name, (*y)->name);
}

static int compare_groups(const void *a, const void *b)
{
	const struct group *x = a, *y = b;

	return x->gid != y->gid ? (x->gid < y->gid ? -1 : 1) : strcmp(x->name, y->name);
}

/* Who has no group of another name has one of its own. */
static struct accounts *with_groups(const struct accounts *a)
{
	struct accounts *all = accounts_new();

	for (size_t i = 0; i < a->n_groups; i++)
		group_add(all, a->groups[i].name, a->groups[i].gid);
	for (size_t i = 0; i < a->n_users; i++) {
		const struct user *u = &a->users[i];
		if (u->group && strcmp(u->group, u->name) == 0)
			group_add(all, u->name, u->uid);
	}
	for (size_t i = 0; i < a->n_memberships; i++) {
		struct group *g = group_find(all, a->memberships[i].group);
		if (g && user_find(a, a->memberships[i].user))
			strv_add(&g->members, a->memberships[i].user);
	}
	for (size_t i = 0; i < all->n_groups; i++)
		strv_sort_unique(&all->groups[i].members);
	if (all->n_groups)
		qsort(all->groups, all->n_groups, sizeof(*all->groups), compare_groups);
	return all;
}

static const struct user **sorted_users(const struct accounts *a)
{
	const struct user **users = xcalloc(a->n_users + 1, sizeof(*users));

	for (size_t i = 0; i < a->n_users; i++)
		users[i] = &a->users[i];
	qsort(users, a->n_users, sizeof(*users), compare_users);
	return users;
}

int accounts_check(const struct accounts *a, struct err *e)
{
	_cleanup_(accounts_freep) struct accounts *all = with_groups(a);
	_cleanup_free_ const struct user **users = sorted_users(a);

	for (size_t i = 1; i < a->n_users; i++)
		if (users[i - 1]->uid == users[i]->uid)
			return err_set(e, -ERR_CONFLICT, "users '%s' and '%s' have one number, %u", users[i - 1]->name,
				       users[i]->name, users[i]->uid);
	for (size_t i = 1; i < all->n_groups; i++)
		if (all->groups[i - 1].gid == all->groups[i].gid)
			return err_set(e, -ERR_CONFLICT, "groups '%s' and '%s' have one number, %u",
				       all->groups[i - 1].name, all->groups[i].name, all->groups[i].gid);
	return 0;
}

static void format_users(const struct accounts *a, const struct accounts *all, bool shadow, struct buf *out)
{
	_cleanup_free_ const struct user **users = sorted_users(a);

	for (size_t i = 0; i < a->n_users; i++) {
		const struct user *u = users[i];
		const struct group *g = u->group ? group_find(all, u->group) : NULL;
		if (shadow)
			/* root's password can be set later, by systemd-firstboot or a person; nobody logs in by another's */
			buf_printf(out, "%s:%s::::::%s:\n", u->name, u->uid == 0 ? "!unprovisioned" : "!*",
				   u->locked ? "1" : "");
		else
			buf_printf(out, "%s:x:%u:%u:%s:%s:%s\n", u->name, u->uid, g ? g->gid : u->gid, u->gecos,
				   u->home, u->shell);
	}
}

static void format_groups(const struct accounts *all, bool shadow, struct buf *out)
{
	for (size_t i = 0; i < all->n_groups; i++) {
		const struct group *g = &all->groups[i];
		_cleanup_free_ char *members = strv_join(&g->members, ",");
		if (shadow)
			buf_printf(out, "%s:!*::%s\n", g->name, members);
		else
			buf_printf(out, "%s:x:%u:%s\n", g->name, g->gid, members);
	}
}

void accounts_format(const struct accounts *a, enum accounts_file file, struct buf *out)
{
	_cleanup_(accounts_freep) struct accounts *all = with_groups(a);

	if (file == ACCOUNTS_PASSWD || file == ACCOUNTS_SHADOW)
		format_users(a, all, file == ACCOUNTS_SHADOW, out);
	else
		format_groups(all, file == ACCOUNTS_GSHADOW, out);
}
