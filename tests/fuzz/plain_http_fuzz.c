/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tests/fuzz/fuzz.h"

#include <openssl/bio.h>
#include <openssl/http.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/client/plain_http.h"

#define TEXT_MAX 10000UL

/* What is said and answered, instead of a connection */
static BIO *request, *answer;

/* Stands before libcrypto's: nothing is connected, and so nothing is waited for. */
OSSL_HTTP_REQ_CTX *OSSL_HTTP_open(const char *server, const char *port, const char *proxy __attribute__((unused)),
				  const char *no_proxy __attribute__((unused)), int use_ssl,
				  BIO *bio __attribute__((unused)), BIO *rbio __attribute__((unused)),
				  OSSL_HTTP_bio_cb_t bio_update_fn __attribute__((unused)),
				  void *arg __attribute__((unused)), int buf_size,
				  int overall_timeout __attribute__((unused)))
{
	FUZZ_CHECK(strcmp(server, "server") == 0 && strcmp(port, "8080") == 0 && !use_ssl);
	return OSSL_HTTP_REQ_CTX_new(request, answer, buf_size);
}

/* The second word of the first line, as libcrypto takes it; 0: there is none */
static unsigned long status_of(const char *text)
{
	static const char blanks[] = " \t\n\v\f\r";

	text += strcspn(text, blanks);
	text += strspn(text, blanks);
	return strtoul(text, NULL, 10);
}

static void check_request(void)
{
	static const char begin[] = "GET /update/20 HTTP/1.0\r\n";
	char *text = NULL;
	const long len = BIO_get_mem_data(request, &text);

	FUZZ_CHECK(len > 0 && (size_t)len > strlen(begin) && memcmp(text, begin, strlen(begin)) == 0);
	FUZZ_CHECK(memmem(text, (size_t)len, "\r\nHost: server:8080\r\n", 21));
}

/* The input is what the server answers until it closes the connection. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const proxies[] = {"http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"};
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_(buf_free) struct buf out = {0};

	for (size_t i = 0; i < ARRAY_LEN(proxies); i++)
		unsetenv(proxies[i]); /* NOLINT(concurrency-mt-unsafe): there is one thread */
	/* of its exact size, so that a sanitizer notices the byte behind */
	_cleanup_free_ uint8_t *exact = xmemdup(data, size);
	request = BIO_new(BIO_s_mem());
	answer = BIO_new_mem_buf(exact, (int)size);
	BIO_set_mem_eof_return(answer, 0);
	int r = plain_http_get("http://server:8080/update/20", "fuzz", TEXT_MAX, &out);
	const unsigned long status = status_of(text);
	check_request();
	FUZZ_CHECK(out.len <= TEXT_MAX && (r >= 0 || out.len == 0));
	FUZZ_CHECK(r < 0 || (text_starts(text, "HTTP/1.") && status == 200));
	FUZZ_CHECK(out.len == 0 || memmem(exact, size, out.data, out.len));
	FUZZ_CHECK(r != -ERR_MISSING || status == 404 || status == 410 || status == 403);
	BIO_free(request);
	BIO_free(answer);
	return 0;
}
