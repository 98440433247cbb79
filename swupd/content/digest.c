/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "swupd/base/err.h"
#include "swupd/base/le.h"
#include "swupd/base/mem.h"
#include "swupd/base/text.h"
#include "swupd/content/file.h"

#define CHUNK 65536

const struct digest digest_zero = {{0}};

bool digest_equal(const struct digest *a, const struct digest *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

size_t digest_search(digest_at_fn *at, const void *arg, size_t n, const struct digest *key, unsigned bytes)
{
	size_t low = 0, high = n;

	while (low < high) {
		const size_t mid = low + (high - low) / 2;
		if (memcmp(at(arg, mid), key, bytes) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

void digest_format(const struct digest *d, char out[DIGEST_HEX])
{
	text_hex(d->bytes, sizeof(d->bytes), out);
}

int digest_parse(const char *hex, struct digest *out)
{
	struct digest d;
	int r = text_unhex(hex, d.bytes, sizeof(d.bytes));

	if (r == 0)
		*out = d;
	return r;
}

/* libcrypto's default provider always has SHA-256: what fails here is memory, and that ends the program (mem.h) */
static void must(bool ok)
{
	if (!ok)
		abort();
}

/* To look it up by name takes longer than to hash most files: that is done once. */
static EVP_MD *sha256;

static void sha256_find(void)
{
	must((sha256 = EVP_MD_fetch(NULL, "SHA256", NULL)));
}

static void sha256_start(EVP_MD_CTX *c)
{
	must(c && EVP_DigestInit_ex2(c, sha256, NULL) == 1);
}

static EVP_MD_CTX *sha256_begin(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	must(pthread_once(&once, sha256_find) == 0);
	sha256_start(c);
	return c;
}

static void sha256_end(EVP_MD_CTX *c, struct digest *out)
{
	must(EVP_DigestFinal_ex(c, out->bytes, NULL) == 1);
	EVP_MD_CTX_free(c);
}

void sha256_mem(const void *data, size_t len, struct digest *out)
{
	EVP_MD_CTX *c = sha256_begin();

	must(EVP_DigestUpdate(c, data, len) == 1);
	sha256_end(c, out);
}

int sha256_fd(int fd, struct digest *out, struct err *e)
{
	char chunk[CHUNK];
	EVP_MD_CTX *c = sha256_begin();

	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			EVP_MD_CTX_free(c);
			return err_errno(e, "read");
		}
		if (n == 0)
			break;
		must(EVP_DigestUpdate(c, chunk, (size_t)n) == 1);
	}
	sha256_end(c, out);
	return 0;
}

/* An HMAC (RFC 2104). libcrypto's own looks its digest up for each key. */
struct file_hash {
	EVP_MD_CTX *inner, *outer;
};

/*
 * The key block, 40 bytes in little-endian, as the predecessor's struct on amd64:
 *
 *     st_mode u64 | st_uid u64 | st_gid u64 | st_rdev u64, always 0 | st_size u64
 *
 * with the file's type in st_mode, but 0 for a link, and st_size 0 for a directory.
 */
static void key_block(const struct attrs *a, uint8_t out[40])
{
	uint64_t mode = a->mode;

	if (a->kind == KIND_LINK)
		mode = 0;
	else
		mode |= a->kind == KIND_DIR ? S_IFDIR : S_IFREG;
	memset(out, 0, 40);
	le64_put(out, mode);
	le64_put(out + 8, a->uid);
	le64_put(out + 16, a->gid);
	le64_put(out + 32, a->kind == KIND_DIR ? 0 : a->size);
}

/* The key has at most as many bytes as a block of SHA-256, as which it is taken then. */
static void set_key(struct file_hash *h, const void *key, size_t len)
{
	uint8_t inner[64] = {0}, outer[sizeof(inner)];

	memcpy(inner, key, len);
	for (size_t i = 0; i < sizeof(inner); i++) {
		outer[i] = inner[i] ^ 0x5c;
		inner[i] ^= 0x36;
	}
	must(EVP_DigestUpdate(h->inner, inner, sizeof(inner)) == 1);
	must(EVP_DigestUpdate(h->outer, outer, sizeof(outer)) == 1);
}

struct file_hash *file_hash_new(const struct attrs *a)
{
	struct file_hash *h = xcalloc(1, sizeof(*h));
	struct digest key;
	char hex[DIGEST_HEX];
	uint8_t block[40];

	h->inner = sha256_begin();
	h->outer = sha256_begin();
	key_block(a, block);
	set_key(h, block, sizeof(block));
	file_hash_end(h, &key);
	digest_format(&key, hex);
	sha256_start(h->inner);
	sha256_start(h->outer);
	set_key(h, hex, DIGEST_HEX - 1);
	if (a->kind == KIND_DIR)
		file_hash_add(h, "DIRECTORY", 9);
	return h;
}

void file_hash_free(struct file_hash *h)
{
	if (!h)
		return;
	EVP_MD_CTX_free(h->inner);
	EVP_MD_CTX_free(h->outer);
	free(h);
}

void file_hash_add(struct file_hash *h, const void *data, size_t len)
{
	must(EVP_DigestUpdate(h->inner, data, len) == 1);
}

void file_hash_end(struct file_hash *h, struct digest *out)
{
	struct digest inner;

	must(EVP_DigestFinal_ex(h->inner, inner.bytes, NULL) == 1);
	must(EVP_DigestUpdate(h->outer, inner.bytes, sizeof(inner.bytes)) == 1);
	must(EVP_DigestFinal_ex(h->outer, out->bytes, NULL) == 1);
}

void file_hash_mem(const struct attrs *a, const void *data, size_t len, struct digest *out)
{
	_cleanup_(file_hash_freep) struct file_hash *h = file_hash_new(a);

	if (a->kind != KIND_DIR)
		file_hash_add(h, data, len);
	file_hash_end(h, out);
}

int file_hash_source(const struct attrs *a, const char *link, file_read_fn *read, void *from, struct digest *out,
		     struct err *e)
{
	_cleanup_(file_hash_freep) struct file_hash *h = file_hash_new(a);
	_cleanup_free_ char *chunk = a->kind == KIND_FILE ? xmalloc(CHUNK) : NULL;
	int n = 0;

	if (a->kind == KIND_LINK)
		file_hash_add(h, link, strlen(link));
	while (a->kind == KIND_FILE && (n = read(from, chunk, CHUNK, e)) > 0)
		file_hash_add(h, chunk, (size_t)n);
	if (n >= 0)
		file_hash_end(h, out);
	return MIN(n, 0);
}

static int hash_content(int fd, const struct attrs *a, struct digest *out, struct err *e)
{
	_cleanup_(file_hash_freep) struct file_hash *h = file_hash_new(a);
	char chunk[CHUNK];
	uint64_t left = a->size;

	/* read(), not mmap(): a mapped file that another process cuts short ends us with SIGBUS */
	for (;;) {
		ssize_t n = read(fd, chunk, sizeof(chunk));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, "read");
		if (n == 0 && left == 0)
			break;
		if (n == 0 || (uint64_t)n > left)
			return err_set(e, -EAGAIN, "its size changed while it was read");
		file_hash_add(h, chunk, (size_t)n);
		left -= (uint64_t)n;
	}
	file_hash_end(h, out);
	return 0;
}

static int hash_link(int dirfd, const char *name, const struct attrs *a, struct digest *out, struct err *e)
{
	char target[4096]; /* PATH_MAX: the kernel makes no longer link */
	ssize_t n = readlinkat(dirfd, name, target, sizeof(target));

	if (n < 0)
		return err_errno(e, "readlink");
	if ((uint64_t)n != a->size)
		return err_set(e, -EAGAIN, "its target changed while it was read");
	file_hash_mem(a, target, (size_t)n, out);
	return 0;
}

static int hash_at(int dirfd, const char *name, struct attrs *attrs, struct digest *out, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct digest d;
	struct stat st;
	struct attrs a;

	/* looked at before it is opened: to open a device is to act on it */
	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_errno(e, "stat");
	int r = attrs_from_stat(&st, &a, e);
	if (r == 0 && a.kind == KIND_FILE) {
		/* O_NONBLOCK: a FIFO that has just taken the place must not hang us */
		fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0)
			return err_errno(e, "open");
		r = attrs_from_stat(&st, &a, e);
		if (r == 0 && a.kind != KIND_FILE)
			return err_set(e, -EAGAIN, "its type changed while it was read");
		if (r == 0)
			r = hash_content(fd, &a, &d, e);
	} else if (r == 0 && a.kind == KIND_LINK) {
		r = hash_link(dirfd, name, &a, &d, e);
	} else if (r == 0) {
		file_hash_mem(&a, NULL, 0, &d);
	}
	if (r < 0)
		return r;
	if (attrs)
		*attrs = a;
	*out = d;
	return 0;
}

int file_hash_at(int dirfd, const char *name, struct attrs *attrs, struct digest *out, struct err *e)
{
	int r = hash_at(dirfd, name, attrs, out, e);

	return r < 0 ? err_in(e, r, "%s", name) : 0;
}
