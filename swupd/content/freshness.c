/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/freshness.h"

#include <errno.h>
#include <inttypes.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/certificate.h"
#include "swupd/content/statement.h"

#define MAGIC    "FRESHNESS\t2"
#define MAGIC_1  "FRESHNESS\t1" /* says nothing of updates */
#define TIME_MAX 253402300799U  /* the last second of the year 9999: no sum of two can overflow */

void freshness_clear(struct freshness *f)
{
	ways_clear(&f->direct);
	*f = (struct freshness){0};
}

static struct freshness take_freshness(struct freshness *f)
{
	const struct freshness taken = *f;

	*f = (struct freshness){0};
	return taken;
}

static int direct_parse(struct statement *s, struct freshness *f, struct err *e)
{
	uint64_t x[3] = {0}, next = 0;

	while (statement_at(s, "update")) {
		const unsigned line = s->line;
		int r = statement_numbers(s, "update", x, ARRAY_LEN(x), e);
		if (r < 0)
			return r;
		if (x[0] < next || x[0] >= f->release || x[1] == 0 || x[1] > x[2] || x[2] > INT64_MAX)
			return err_set(e, -ERR_FORMAT,
				       "line %u: 'update:' is not an older release, above that of the line before, and "
				       "bytes",
				       line);
		ways_add_step(
			&f->direct,
			&(struct way_step){.from = (uint32_t)x[0], .to = f->release, .head = x[1], .bytes = x[2]});
		next = x[0] + 1;
	}
	return 0;
}

static int fields_parse(struct statement *s, struct freshness *f, struct err *e)
{
	uint64_t time = 0, expires = 0;

	int r = statement_u32(s, "format", 1, &f->format, e);
	if (r == 0)
		r = statement_u32(s, "release", 1, &f->release, e);
	if (r == 0)
		r = statement_number(s, "time", 0, TIME_MAX, &time, e);
	if (r == 0)
		r = statement_number(s, "expires", time, TIME_MAX, &expires, e);
	if (r == 0)
		r = statement_u32(s, "root", 0, &f->root, e);
	if (r == 0)
		r = statement_digest(s, "mom", &f->mom, e);
	if (r == 0 && f->has_updates)
		r = statement_digest(s, "updates", &f->updates, e);
	if (r == 0 && f->has_updates)
		r = direct_parse(s, f, e);
	if (r == 0)
		r = statement_blank(s, e);
	f->time = (int64_t)time;
	f->expires = (int64_t)expires;
	return r;
}

int freshness_parse(const char *text, size_t len, struct freshness *out, size_t *signed_len, struct buf *sig,
		    struct err *e)
{
	_cleanup_(buf_free) struct buf der = {0};
	_cleanup_(freshness_clear) struct freshness f = {.has_updates = true};
	struct statement s;

	int r = statement_open(&s, text, len, MAGIC_1, NULL);
	if (r == 0)
		f.has_updates = false;
	else
		r = statement_open(&s, text, len, MAGIC, e);
	if (r == 0)
		r = fields_parse(&s, &f, e);
	size_t header = (size_t)(s.pos - text);
	if (r == 0)
		r = statement_block(&s, "CMS", &der, e);
	if (r == 0)
		r = statement_end(&s, e);
	if (r < 0)
		return err_in(e, r, "freshness");
	if (signed_len)
		*signed_len = header;
	if (sig)
		buf_add(sig, der.data, der.len);
	*out = take_freshness(&f);
	return 0;
}

int freshness_read(const char *text, size_t len, uint32_t format, const struct anchors *a, int64_t now,
		   struct freshness *out, struct err *e)
{
	_cleanup_(buf_free) struct buf sig = {0};
	_cleanup_(freshness_clear) struct freshness f = {0};
	size_t signed_len = 0;

	int r = freshness_parse(text, len, &f, &signed_len, &sig, e);
	if (r < 0)
		return r;
	r = signature_verify(a, text, signed_len, sig.data, sig.len, now, e);
	if (r < 0)
		return err_in(e, r, "freshness");
	if (f.format != format)
		return err_set(e, -ERR_FORMAT, "freshness: is that of format %" PRIu32 ", not of %" PRIu32, f.format,
			       format);
	_cleanup_free_ char *today = text_time(now);
	if (f.time - now > FRESHNESS_AHEAD_MAX) {
		_cleanup_free_ char *said = text_time(f.time);
		err_set(e, -ERR_CLOCK, "freshness: was signed at %s, but the clock says %s", said, today);
		return err_hint(e, -ERR_CLOCK, "set the clock of this machine");
	}
	if (f.expires < now) {
		_cleanup_free_ char *end = text_time(f.expires);
		err_set(e, -ERR_EXPIRED, "freshness: expired at %s, and it is %s", end, today);
		return err_hint(e, -ERR_EXPIRED, "the server or a mirror is not kept up to date, or withholds updates");
	}
	*out = take_freshness(&f);
	return 0;
}

void freshness_format(const struct freshness *f, struct buf *out)
{
	char mom[DIGEST_HEX], updates[DIGEST_HEX];

	digest_format(&f->mom, mom);
	buf_printf(out,
		   "%s\nformat:\t%" PRIu32 "\nrelease:\t%" PRIu32 "\ntime:\t%" PRIi64 "\nexpires:\t%" PRIi64
		   "\nroot:\t%" PRIu32 "\nmom:\t%s\n",
		   f->has_updates ? MAGIC : MAGIC_1, f->format, f->release, f->time, f->expires, f->root, mom);
	if (f->has_updates) {
		digest_format(&f->updates, updates);
		buf_printf(out, "updates:\t%s\n", updates);
	}
	for (size_t i = 0; i < f->direct.n; i++)
		buf_printf(out, "update:\t%" PRIu32 " %" PRIu64 " %" PRIu64 "\n", f->direct.items[i].from,
			   f->direct.items[i].head, f->direct.items[i].bytes);
	buf_putc(out, '\n');
}

/* Nobody would believe what an expired key signs: say so here, not on every machine. */
static int signer_is_valid_at(const struct signer *s, int64_t now, struct err *e)
{
	_cleanup_(certificates_freep) x509_stack *certs = NULL;

	int r = certificates_load(s->cert, &certs, e);
	if (r < 0)
		return r;
	for (int i = 0; i < sk_X509_num(certs); i++) {
		const X509 *cert = sk_X509_value(certs, i);
		if (certificate_valid_at(cert, now))
			continue;
		_cleanup_free_ char *validity = certificate_validity(cert);
		_cleanup_free_ char *today = text_time(now);
		return err_set(e, -ERR_EXPIRED, "certificate '%s' is valid from %s, and it is %s", s->cert, validity,
			       today);
	}
	return 0;
}

int freshness_write(const struct freshness *f, const struct signer *s, struct buf *out, struct err *e)
{
	_cleanup_(buf_free) struct buf text = {0}, sig = {0};
	_cleanup_(freshness_clear) struct freshness again = {0};

	if (f->time < 0 || f->expires < f->time || f->format == 0 || f->release == 0)
		return err_set(e, -EINVAL, "freshness: format and release must be given, and the times in their order");
	freshness_format(f, &text);
	int r = signer_is_valid_at(s, f->time, e);
	if (r == 0)
		r = signature_make(s, text.data, text.len, &sig, e);
	if (r < 0)
		return err_in(e, r, "freshness");
	statement_add_block(&text, "CMS", sig.data, sig.len);
	/* what we would not read must not be published: a signature too large, a time too late */
	r = freshness_parse(text.data, text.len, &again, NULL, NULL, e);
	if (r < 0)
		return r;
	buf_add(out, text.data, text.len);
	return 0;
}
