/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/base/table.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "swupd/base/mem.h"

struct slot {
	const void *key;
	size_t len;
	uint64_t hash;
	void *value; /* NULL: free */
};

struct table {
	struct slot *slots;
	size_t n, size; /* size is a power of two; at most 3/4 full */
};

/* FNV-1a with a final mix: keys are paths and digests of our own, hostile sets are bounded by the limits on manifests */
static uint64_t hash_bytes(const void *key, size_t len)
{
	const uint8_t *p = key;
	uint64_t h = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	h ^= h >> 32;
	return h * 0x9e3779b97f4a7c15ULL;
}

struct table *table_new(void)
{
	struct table *t = xcalloc(1, sizeof(*t));

	t->size = 64;
	t->slots = xcalloc(t->size, sizeof(*t->slots));
	return t;
}

void table_free(struct table *t)
{
	if (!t)
		return;
	free(t->slots);
	free(t);
}

static struct slot *slot_of(const struct table *t, const void *key, size_t len, uint64_t hash)
{
	for (size_t i = hash >> 7;; i++) {
		struct slot *s = &t->slots[i & (t->size - 1)];
		if (!s->value || (s->hash == hash && s->len == len && memcmp(s->key, key, len) == 0))
			return s;
	}
}

static void grow(struct table *t)
{
	struct slot *old = t->slots;
	size_t n = t->size;

	t->size *= 2;
	t->slots = xcalloc(t->size, sizeof(*t->slots));
	for (size_t i = 0; i < n; i++)
		if (old[i].value)
			*slot_of(t, old[i].key, old[i].len, old[i].hash) = old[i];
	free(old);
}

void *table_find(const struct table *t, const void *key, size_t key_len)
{
	return slot_of(t, key, key_len, hash_bytes(key, key_len))->value;
}

void *table_find_str(const struct table *t, const char *key)
{
	return table_find(t, key, strlen(key));
}

void *table_add(struct table *t, const void *key, size_t key_len, void *value)
{
	uint64_t hash = hash_bytes(key, key_len);
	struct slot *s = slot_of(t, key, key_len, hash);

	if (s->value)
		return s->value;
	*s = (struct slot){.key = key, .len = key_len, .hash = hash, .value = value};
	if (++t->n > t->size / 4 * 3)
		grow(t);
	return NULL;
}

void *table_add_str(struct table *t, const char *key, void *value)
{
	return table_add(t, key, strlen(key), value);
}

void *table_set_str(struct table *t, const char *key, void *value)
{
	size_t len = strlen(key);
	struct slot *s = slot_of(t, key, len, hash_bytes(key, len));

	if (!s->value)
		return table_add(t, key, len, value);
	void *old = s->value;
	s->key = key;
	s->value = value;
	return old;
}

size_t table_count(const struct table *t)
{
	return t->n;
}
