/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/restart.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/fs.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/base/ui.h"
#include "swupd/client/inuse.h"
#include "swupd/client/machine.h"
#include "swupd/client/post.h"
#include "swupd/client/reboot.h"
#include "swupd/content/layout.h"

/* Services whose restart takes away what others or people work with. */
static const struct {
	const char *pattern, *why;
} never[] = {
	{"dbus.service", "every service talks over it"},
	{"dbus-broker.service", "every service talks over it"},
	{"systemd-logind.service", "sessions would lose their devices"},
	{"getty@*.service", "who is logged in there would be logged out"},
	{"serial-getty@*.service", "who is logged in there would be logged out"},
	{"console-getty.service", "who is logged in there would be logged out"},
	{"container-getty@*.service", "who is logged in there would be logged out"},
	{"autovt@*.service", "who is logged in there would be logged out"},
	{"user@*.service", "it holds all that this user runs"},
	{"gdm*.service", "it holds the sessions of its screens"},
	{"lightdm.service", "it holds the sessions of its screens"},
	{"sddm.service", "it holds the sessions of its screens"},
	{"display-manager.service", "it holds the sessions of its screens"},
	{"rescue.service", "somebody works in it"},
	{"emergency.service", "somebody works in it"},
	{"limpid-workload.service", "the guest ends with it"},
};

static const char *const marks[] = {"etc/swupd/no-restart.d", INSTALLED_DEFAULTS "/no-restart.d"};

#define PREDECESSORS_MARKS "etc/clr-service-restart"

/* A service that uses replaced files. */
struct service {
	const char *unit; /* lent from the processes */
	size_t n;         /* processes */
	char *why_not;    /* NULL: it can be restarted */
};

struct services {
	struct service *items;
	size_t n, cap;
};

static void services_free(struct services *s)
{
	for (size_t i = 0; i < s->n; i++)
		free(s->items[i].why_not);
	free(s->items);
}

static bool has_mark(const struct machine *m, const char *dir, const char *unit, bool link)
{
	_cleanup_close_ int fd = fs_open_beneath(m->root, dir, O_RDONLY | O_DIRECTORY, 0, NULL);
	char target[16];

	if (fd < 0)
		return false;
	if (!link)
		return fs_exists(fd, unit);
	ssize_t n = readlinkat(fd, unit, target, sizeof(target));
	return n == (ssize_t)strlen("/dev/null") && memcmp(target, "/dev/null", (size_t)n) == 0;
}

static char *find_mark(const struct machine *m, const char *unit)
{
	for (size_t i = 0; i < ARRAY_LEN(marks); i++)
		if (has_mark(m, marks[i], unit, false))
			return xasprintf("/%s has its name", marks[i]);
	return has_mark(m, PREDECESSORS_MARKS, unit, true) ? xstrdup("/" PREDECESSORS_MARKS " disallows it") : NULL;
}

/* "getty@.service" of "getty@tty1.service"; NULL: it is no instance. The caller frees it. */
static char *template_of(const char *unit)
{
	const char *at = strchr(unit, '@'), *kind = strrchr(unit, '.');

	return at && kind > at + 1 ? xasprintf("%.*s%s", (int)(at + 1 - unit), unit, kind) : NULL;
}

char *restart_objection(const struct machine *m, const char *unit)
{
	_cleanup_free_ char *template = template_of(unit);

	char *why = find_mark(m, unit);
	if (!why && template)
		why = find_mark(m, template);
	for (size_t i = 0; !why && i < ARRAY_LEN(never); i++)
		if (fnmatch(never[i].pattern, unit, 0) == 0)
			why = xstrdup(never[i].why);
	return why;
}

/* The unit that we run in. The caller frees it. */
static char *own_unit(void)
{
	_cleanup_(buf_free) struct buf text = {0};

	return fs_load(AT_FDCWD, "/proc/self/cgroup", UINT16_MAX, &text, NULL) >= 0 && text.data ? inuse_unit(text.data)
												 : NULL;
}

/* What is not restarted by its kind, or by marks and our list. */
static char *objection(const struct machine *m, const char *unit, const char *own)
{
	if (strcmp(unit, "init.scope") == 0)
		return xstrdup("'systemctl daemon-reexec'");
	if (text_starts(unit, "session-") && text_ends(unit, ".scope"))
		return xstrdup("log out and in again");
	if (!text_ends(unit, ".service"))
		return xstrdup("nobody but who began it can start it again");
	if (own && strcmp(unit, own) == 0)
		return xstrdup("swupd runs in it");
	_cleanup_free_ char *why = restart_objection(m, unit);
	return why ? xasprintf("not to be restarted: %s", why) : NULL;
}

/* The services against which nothing speaks yet, as arguments; returns how many. */
static size_t add_units(const struct services *s, const char **argv)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		if (!s->items[i].why_not)
			argv[n++] = s->items[i].unit;
	return n;
}

/* Ask systemd for properties of the services against which nothing speaks yet, and hand each one its lines. */
static int show(const struct services *s, const char *properties,
		void (*each)(struct service *service, const struct strv *lines, void *arg), void *arg, struct err *e)
{
	_cleanup_free_ const char **argv = xcalloc(s->n + 5, sizeof(*argv));
	_cleanup_(buf_free) struct buf out = {0};
	size_t n = 0;

	argv[n++] = "systemctl";
	argv[n++] = "show";
	argv[n++] = properties;
	argv[n++] = "--";
	if (add_units(s, argv + n) == 0)
		return 0;
	int r = post_run(argv, &out, e);
	if (r < 0)
		return r;
	/* a block for each, in our order, between empty lines */
	const char *block = out.data ? out.data : "";
	for (size_t i = 0; i < s->n; i++) {
		_cleanup_(strv_free) struct strv lines = {0};
		if (s->items[i].why_not)
			continue;
		const char *end = strstr(block, "\n\n");
		_cleanup_free_ char *copy = end ? xstrndup(block, (size_t)(end - block)) : xstrdup(block);
		strv_split(&lines, copy, "\n");
		if (lines.n == 0)
			return err_set(e, -ERR_CHILD, "systemctl says nothing of %s", s->items[i].unit);
		each(&s->items[i], &lines, arg);
		block = end ? end + 2 : "";
	}
	return 0;
}

static void note_refusal(struct service *s, const struct strv *lines, void *arg)
{
	(void)arg;
	/* it can be stopped, but not begun again */
	if (strv_has(lines, "LoadState=not-found"))
		s->why_not = xstrdup("its unit is gone: stop it");
	else if (strv_has(lines, "RefuseManualStop=yes") || strv_has(lines, "RefuseManualStart=yes"))
		s->why_not = xstrdup("not to be restarted: its unit refuses it");
	else if (strv_has(lines, "Type=oneshot"))
		s->why_not = xstrdup("not to be restarted: it runs once");
}

static void note_state(struct service *s, const struct strv *lines, void *arg)
{
	struct strv *bad = arg;

	/* one that was stopped meanwhile is not started by try-restart */
	if (!strv_has(lines, "ActiveState=active") && !strv_has(lines, "ActiveState=inactive"))
		strv_add(bad, s->unit);
}

static int group(const struct machine *m, const struct inuse *found, struct services *out, struct err *e)
{
	_cleanup_free_ char *own = own_unit();

	for (size_t i = 0; i < found->n; i++) {
		const char *unit = found->items[i].unit;
		if (!unit)
			continue;
		if (out->n == 0 || strcmp(out->items[out->n - 1].unit, unit) != 0) {
			VEC_GROW(out->items, out->n, out->cap);
			out->items[out->n++] = (struct service){.unit = unit, .why_not = objection(m, unit, own)};
		}
		out->items[out->n - 1].n++;
	}
	return show(out, "--property=LoadState,Type,RefuseManualStart,RefuseManualStop", note_refusal, NULL, e);
}

static void answer(struct machine *m, const struct inuse *found, const struct services *s, bool restarting)
{
	for (size_t i = 0; i < found->n; i++) {
		const struct inuse_process *p = &found->items[i];
		ui_note(m->ui, "process %d (%s) uses the %s of before", (int)p->pid, p->name, p->file);
		if (s->n == 0 || !p->unit)
			ui_answer(m->ui, "process %d (%s): end it and start it again", (int)p->pid, p->name);
	}
	for (size_t i = 0; i < s->n; i++)
		ui_answer(m->ui, "%s (%zu process%s): %s", s->items[i].unit, s->items[i].n,
			  s->items[i].n == 1 ? "" : "es",
			  s->items[i].why_not ? s->items[i].why_not
			  : restarting        ? "restarting it"
					      : "restart it");
}

static bool uses(const struct inuse *found, const char *unit)
{
	for (size_t i = 0; i < found->n; i++)
		if (found->items[i].unit && strcmp(found->items[i].unit, unit) == 0)
			return true;
	return false;
}

/* One call, so that systemd orders them; then see what came of it. */
static int restart_all(struct machine *m, const struct services *s, struct err *e)
{
	_cleanup_free_ const char **argv = xcalloc(s->n + 4, sizeof(*argv));
	_cleanup_(inuse_free) struct inuse still = {0};
	_cleanup_(strv_free) struct strv bad = {0};
	struct err why = ERR_INIT;
	size_t n = 0;

	argv[n++] = "systemctl";
	argv[n++] = "try-restart";
	argv[n++] = "--";
	if (add_units(s, argv + n) == 0)
		return 0;
	const int ran = post_run(argv, NULL, &why);
	int r = show(s, "--property=ActiveState", note_state, &bad, e);
	if (r >= 0)
		r = inuse_find(m, &still, e);
	for (size_t i = 0; r >= 0 && i < s->n; i++)
		if (!s->items[i].why_not && !strv_has(&bad, s->items[i].unit) && uses(&still, s->items[i].unit))
			strv_add(&bad, s->items[i].unit);
	if (r >= 0 && bad.n) {
		_cleanup_free_ char *names = strv_join(&bad, ", ");
		r = err_hint(e, err_set(e, -ERR_CHILD, "not restarted: %s", names), "'systemctl status %s' tells why",
			     bad.items[0]);
	} else if (r >= 0 && ran < 0) {
		err_move(e, &why);
		r = ran;
	}
	err_clear(&why);
	return r;
}

/* Units are those of the system that runs, whatever runs in another root. */
static bool has_systemd(const struct machine *m)
{
	return strcmp(m->path, "/") == 0 && access("/run/systemd/system", F_OK) == 0;
}

static int not_here(struct err *e)
{
	return err_set(e, -ERR_USAGE, "services are restarted only on the running system, by systemd");
}

int restart_services(struct machine *m, bool restart, struct err *e)
{
	const bool here = has_systemd(m);
	_cleanup_(inuse_free) struct inuse found = {0};
	_cleanup_(services_free) struct services s = {0};

	if (restart && !here)
		return not_here(e);
	int r = inuse_find(m, &found, e);
	if (r >= 0 && here)
		r = group(m, &found, &s, e);
	if (r < 0)
		return r;
	answer(m, &found, &s, restart);
	if (!restart)
		return 0;
	const int init = uses(&found, "init.scope") ? post_reexec(m, e) : 0;
	r = restart_all(m, &s, e);
	return r < 0 ? r : init;
}

int restart_userspace(struct machine *m, struct err *e)
{
	const char *const argv[] = {"systemctl", "soft-reboot", NULL};

	ui_message(m->ui, "restarting userspace");
	int r = post_run(argv, NULL, e);
	return r < 0 ? err_hint(e, err_in(e, r, "userspace is not restarted"), "a reboot does it, too") : 0;
}

/* What systemd does not know it does not load. */
static int need_soft_reboot(struct err *e)
{
	const char *const argv[] = {"systemctl", "show", "--property=LoadState", "soft-reboot.target", NULL};
	_cleanup_(buf_free) struct buf out = {0};

	int r = post_run(argv, &out, e);
	if (r < 0)
		return r;
	return out.data && strstr(out.data, "=loaded")
		       ? 0
		       : err_hint(e, err_set(e, -ERR_USAGE, "systemd has no soft reboot here"),
				  "it needs version 254; without --soft-reboot a reboot does it");
}

int restart_check(const struct machine *m, const struct restart_options *o, struct err *e)
{
	if (!o->services && !o->userspace)
		return 0;
	if (m->opts->no_scripts)
		return err_set(e, -ERR_USAGE, "--%s does not go with --no-scripts",
			       o->services ? "restart" : "soft-reboot");
	if (!has_systemd(m))
		return not_here(e);
	return o->userspace ? need_soft_reboot(e) : 0;
}

int restart_follow(struct machine *m, const struct restart_options *o, uint32_t before, int result, struct err *e)
{
	struct err own = ERR_INIT;

	if (m->release == before)
		return result;
	/* what a soft reboot ends need not be told of; after a failure nobody is to be sent away */
	int r = o->userspace && result >= 0 ? restart_userspace(m, &own) : restart_services(m, o->services, &own);
	if (r < 0 && result >= 0 && (o->services || o->userspace)) {
		err_move(e, &own);
		return err_in(e, r, "release %u is installed", m->release);
	}
	if (r < 0)
		ui_warn(m->ui, "%s", own.text); /* nobody asked for it, or something else comes first */
	err_clear(&own);
	return result;
}
