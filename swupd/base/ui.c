/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/ui.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/json.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define REDRAW_MS 100 /* often enough to look alive, rare enough to cost nothing */

struct progress {
	struct ui *ui;
	pthread_mutex_t lock;
	unsigned stage, stages;
	char *name; /* NULL: no stage */
	uint64_t done, total;
	bool bytes;
	int64_t began_ms, drawn_ms;
	int percent_said; /* JSON: the last one written */
	struct buf times; /* a line for each stage that ended */
};

void ui_init(struct ui *u, const char *program)
{
	*u = (struct ui){.program = program, .level = UI_MESSAGE, .tty = isatty(STDERR_FILENO) == 1};
}

static void clear_line(struct ui *u)
{
	if (!u->line_open)
		return;
	fputs("\r\033[K", stderr);
	u->line_open = false;
}

static void json_message(const char *type, const char *text)
{
	_cleanup_(buf_free) struct buf b = {0};

	if (!*text)
		return;
	buf_printf(&b, "{ \"type\" : \"%s\", \"msg\" : ", type);
	json_string(&b, text);
	printf("%s },\n", b.data);
	fflush(stdout);
}

static void say(struct ui *u, FILE *to, const char *type, const char *prefix, const char *fmt, va_list ap)
{
	_cleanup_free_ char *text = xvasprintf(fmt, ap);

	if (u->json) {
		if (u->json_open)
			json_message(type, text);
		return;
	}
	clear_line(u);
	if (to == stderr)
		fflush(stdout); /* both may lead to one file or pipe: the order is that in which things were said */
	fprintf(to, "%s%s\n", prefix, text);
}

#define SAY(to, type, prefix)                                                                                          \
	va_list ap;                                                                                                    \
	va_start(ap, fmt);                                                                                             \
	say(u, to, type, prefix, fmt, ap);                                                                             \
	va_end(ap)

void ui_answer(struct ui *u, const char *fmt, ...)
{
	SAY(stdout, "info", "");
}

void ui_message(struct ui *u, const char *fmt, ...)
{
	if (u->level < UI_MESSAGE)
		return;
	SAY(stderr, "info", "");
}

void ui_note(struct ui *u, const char *fmt, ...)
{
	if (u->level < UI_NOTE)
		return;
	SAY(stderr, "info", "");
}

void ui_debug(struct ui *u, const char *fmt, ...)
{
	if (u->level < UI_DEBUG)
		return;
	SAY(stderr, "info", "");
}

void ui_warn(struct ui *u, const char *fmt, ...)
{
	SAY(stderr, "warning", "warning: ");
}

void ui_error(struct ui *u, const struct err *e)
{
	const char *text = e->text ? e->text : "unknown error";

	if (u->json) {
		if (u->json_open) {
			_cleanup_free_ char *both = e->hint ? xasprintf("%s (hint: %s)", text, e->hint) : xstrdup(text);
			json_message("error", both);
			return;
		}
	}
	clear_line(u);
	fflush(stdout);
	fprintf(stderr, "%s: %s\n", u->program, text);
	if (e->hint)
		fprintf(stderr, "hint: %s\n", e->hint);
}

void ui_json_start(struct ui *u, const char *section)
{
	if (!u->json)
		return;
	printf("[\n{ \"type\" : \"start\", \"section\" : \"%s\" },\n", section);
	u->json_open = true;
}

void ui_json_end(struct ui *u, const char *section, int status)
{
	if (!u->json_open)
		return;
	printf("{ \"type\" : \"end\", \"section\" : \"%s\", \"status\" : %d }\n]\n", section, status);
	fflush(stdout);
	u->json_open = false;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

struct progress *progress_new(struct ui *u, unsigned stages)
{
	struct progress *p = xcalloc(1, sizeof(*p));

	p->ui = u;
	p->stages = stages;
	pthread_mutex_init(&p->lock, NULL);
	return p;
}

static void draw_json(struct progress *p, int percent)
{
	if (percent == p->percent_said)
		return;
	p->percent_said = percent;
	printf("{ \"type\" : \"progress\", \"currentStep\" : %u, \"totalSteps\" : %u, \"stepCompletion\" : %d, "
	       "\"stepDescription\" : \"%s\" },\n",
	       p->stage, MAX(p->stages, p->stage), percent, p->name);
	fflush(stdout);
}

static void draw_line(struct progress *p, int percent, int64_t now)
{
	_cleanup_(buf_free) struct buf b = {0};

	buf_puts(&b, p->name);
	if (p->bytes) {
		_cleanup_free_ char *done = text_size(p->done), *total = text_size(p->total);
		buf_printf(&b, " %s", done);
		if (p->total)
			buf_printf(&b, " of %s", total);
	} else if (p->total) {
		buf_printf(&b, " %llu of %llu", (unsigned long long)p->done, (unsigned long long)p->total);
	}
	if (percent >= 0)
		buf_printf(&b, ", %d%%", percent);
	int64_t spent = now - p->began_ms;
	if (percent > 0 && percent < 100 && spent > 1000)
		buf_printf(&b, ", %" PRId64 "s left", spent * (100 - percent) / percent / 1000 + 1);
	fprintf(stderr, "\r\033[K%s", b.data);
	fflush(stderr);
	p->ui->line_open = true;
}

static void draw(struct progress *p, bool must)
{
	int percent = p->total ? (int)(MIN(p->done, p->total) * 100 / p->total) : -1;
	int64_t now = now_ms();

	if (p->ui->json && p->ui->json_open) {
		draw_json(p, percent);
	} else if (!p->ui->json && p->ui->tty && !p->ui->no_progress && p->ui->level >= UI_MESSAGE &&
		   (must || now - p->drawn_ms >= REDRAW_MS)) {
		p->drawn_ms = now;
		draw_line(p, percent, now);
	}
}

static void finish_stage(struct progress *p)
{
	if (!p->name)
		return;
	buf_printf(&p->times, "%10.3f s  %s\n", (double)(now_ms() - p->began_ms) / 1000, p->name);
	if (p->ui->json && p->ui->json_open) {
		draw_json(p, p->total ? 100 : -1);
	} else if (!p->ui->json && !p->ui->no_progress && p->ui->level >= UI_MESSAGE) {
		clear_line(p->ui);
		fflush(stdout);
		_cleanup_free_ char *size = text_size(p->done);
		if (p->done && p->bytes)
			fprintf(stderr, "%s: %s\n", p->name, size);
		else if (p->done)
			fprintf(stderr, "%s: %llu\n", p->name, (unsigned long long)p->done);
	}
	free(p->name);
	p->name = NULL;
}

void progress_stage(struct progress *p, const char *name, uint64_t total, bool bytes)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	finish_stage(p);
	p->stage++;
	p->name = xstrdup(name);
	p->done = 0;
	p->total = total;
	p->bytes = bytes;
	p->began_ms = now_ms();
	p->percent_said = -2;
	draw(p, true);
	pthread_mutex_unlock(&p->lock);
}

void progress_add(struct progress *p, uint64_t amount)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->done += amount;
	if (p->name)
		draw(p, false);
	pthread_mutex_unlock(&p->lock);
}

void progress_total(struct progress *p, uint64_t more)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->total += more;
	pthread_mutex_unlock(&p->lock);
}

void progress_end(struct progress *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	finish_stage(p);
	pthread_mutex_unlock(&p->lock);
}

void progress_free(struct progress *p)
{
	if (!p)
		return;
	progress_end(p);
	pthread_mutex_destroy(&p->lock);
	buf_free(&p->times);
	free(p);
}

void progress_print_times(struct progress *p)
{
	const char *line;
	size_t len;

	if (!p || !p->times.data)
		return;
	for (const char *pos = p->times.data, *end = pos + p->times.len; text_line(&pos, end, &line, &len, NULL);) {
		_cleanup_free_ char *one = xstrndup(line, len);
		if (p->ui->json && p->ui->json_open)
			json_message("info", one + strspn(one, " "));
		else
			fprintf(stderr, "%s\n", one);
	}
}
