/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/mem.h"

static void set_text(struct err *e, int code, char *text)
{
	err_clear(e);
	e->code = -code;
	e->text = text;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	assert(code < 0);
	if (!e)
		return code;
	va_start(ap, fmt);
	set_text(e, code, xvasprintf(fmt, ap));
	va_end(ap);
	return code;
}

int err_errno(struct err *e, const char *fmt, ...)
{
	char reason[128];
	va_list ap;
	int saved = errno ? errno : EIO;

	if (!e)
		return -saved;
	va_start(ap, fmt);
	_cleanup_free_ char *what = xvasprintf(fmt, ap);
	va_end(ap);
	set_text(e, -saved, xasprintf("%s: %s", what, strerror_r(saved, reason, sizeof(reason))));
	return -saved;
}

int err_in(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	assert(code < 0);
	if (!e)
		return code;
	va_start(ap, fmt);
	_cleanup_free_ char *where = xvasprintf(fmt, ap);
	va_end(ap);
	char *text = e->text ? xasprintf("%s: %s", where, e->text) : xstrdup(where);
	free(e->text);
	e->text = text;
	e->code = -code;
	return code;
}

int err_hint(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	assert(code < 0);
	if (!e)
		return code;
	va_start(ap, fmt);
	free(e->hint);
	e->hint = xvasprintf(fmt, ap);
	va_end(ap);
	return code;
}

int err_as(struct err *e, int code)
{
	assert(code < 0);
	if (e)
		e->code = -code;
	return code;
}

void err_move(struct err *dst, struct err *src)
{
	if (dst) {
		err_clear(dst);
		*dst = *src;
		*src = (struct err)ERR_INIT;
	} else {
		err_clear(src);
	}
}

void err_clear(struct err *e)
{
	if (!e)
		return;
	free(e->text);
	free(e->hint);
	*e = (struct err)ERR_INIT;
}
