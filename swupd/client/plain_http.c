/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/plain_http.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/http.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"

#define POLL_MS 10

struct where {
	char *host, *port, *path; /* libcrypto's */
	char *authority;          /* "host:port", as it stands in the URL */
};

static void where_clear(struct where *w)
{
	OPENSSL_free(w->host);
	OPENSSL_free(w->port);
	OPENSSL_free(w->path);
	free(w->authority);
}

static bool has_proxy(void)
{
	static const char *const names[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (getenv(names[i])) /* NOLINT(concurrency-mt-unsafe): nobody calls setenv */
			return true;
	return false;
}

static bool is_plain(const char *url, struct where *w)
{
	int tls = 0;

	if (strncasecmp(url, "http://", 7) != 0 || has_proxy())
		return false;
	/* "user:password@" is libcurl's, and what is to be said of a strange URL */
	for (const char *s = url; *s; s++)
		if (*s <= ' ' || *s > '~' || strchr("@?#", *s))
			return false;
	w->authority = xstrndup(url + 7, strcspn(url + 7, "/"));
	return OSSL_HTTP_parse_url(url, &tls, NULL, &w->host, &w->port, NULL, &w->path, NULL, NULL) && !tls;
}

/* length: what the server tells; 0: nothing, it ends with the connection */
static int read_body(BIO *body, size_t length, time_t until, size_t max, struct buf *out)
{
	char block[4096];

	while (!length || out->len < length) {
		int n = BIO_read(body, block, sizeof(block));
		if (n > 0 && (size_t)n > max - out->len)
			return -ERR_LIMIT;
		if (n > 0)
			buf_add(out, block, (size_t)n);
		else if (!BIO_should_retry(body))
			return n < 0 || length ? -ERR_DOWNLOAD : 0;
		else if (BIO_wait(body, until, POLL_MS) <= 0)
			return -ERR_DOWNLOAD;
	}
	return out->len > length ? -ERR_DOWNLOAD : 0;
}

/* Chunks are for HTTP/1.1, which we do not speak; some send them all the same, and libcrypto does not tell what the head said of it. */
static bool is_chunked(const struct buf *body)
{
	const char *text = body->data ? body->data : "";
	const size_t digits = strspn(text, "0123456789abcdefABCDEF");

	return digits && text_starts(text + digits, "\r\n") && text_ends(text, "\r\n0\r\n\r\n");
}

/* libcrypto tells the status in words only, with one of the errors that it leaves: "code=404, reason=…", or without the reason */
static bool is_missing(void)
{
	static const char *const codes[] = {"code=404", "code=410", "code=403"};
	const char *data = NULL;
	bool missing = false;

	while (ERR_get_error_all(NULL, NULL, NULL, &data, NULL))
		for (size_t i = 0; i < ARRAY_LEN(codes); i++)
			missing |= text_starts(data, codes[i]) && !isdigit((unsigned char)data[strlen(codes[i])]);
	return missing;
}

static int exchange(OSSL_HTTP_REQ_CTX *c, const char *path, const STACK_OF(CONF_VALUE) * headers, size_t max,
		    struct buf *out)
{
	const time_t until = time(NULL) + PLAIN_HTTP_S;

	if (!OSSL_HTTP_set1_request(c, path, headers, NULL, NULL, NULL, 0, max, PLAIN_HTTP_S, 0))
		return -ERR_CONNECT;
	BIO *body = OSSL_HTTP_exchange(c, NULL);
	if (!body)
		return is_missing() ? -ERR_MISSING : -ERR_DOWNLOAD;
	int r = read_body(body, OSSL_HTTP_REQ_CTX_get_resp_len(c), until, max, out);
	BIO_free(body);
	return r >= 0 && is_chunked(out) ? -ERR_DOWNLOAD : r;
}

int plain_http_get(const char *url, const char *user_agent, size_t max, struct buf *out)
{
	_cleanup_(where_clear) struct where w = {0};
	_cleanup_(buf_free) struct buf text = {0};
	STACK_OF(CONF_VALUE) *headers = NULL;
	OSSL_HTTP_REQ_CTX *c = NULL;
	int r = -ERR_CONNECT;

	ERR_clear_error();
	/* of itself it says no port */
	if (is_plain(url, &w) && X509V3_add_value("Host", w.authority, &headers) &&
	    X509V3_add_value("User-Agent", user_agent, &headers))
		c = OSSL_HTTP_open(w.host, w.port, NULL, NULL, 0, NULL, NULL, NULL, NULL, 0, PLAIN_HTTP_S);
	if (c)
		r = exchange(c, w.path, headers, max, &text);
	OSSL_HTTP_close(c, r == 0);
	sk_CONF_VALUE_pop_free(headers, X509V3_conf_free);
	ERR_clear_error();
	if (r >= 0)
		buf_move(out, &text);
	return r;
}
