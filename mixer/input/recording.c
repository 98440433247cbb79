/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mixer/input/recording.h"

#include <stdlib.h>
#include <string.h>

#include "swupd/base/err.h"
#include "swupd/base/text.h"

#define BLOCKS_MAX (16U << 20)  /* four times what the plugin keeps */
#define BLOCK_MAX  (16UL * 512) /* QEMU's longest: 512 instructions */
#define MAGIC      "limpid-recording 1\n"

bool recording_is(const char *text, size_t len)
{
	return len >= strlen("limpid-recording ") && memcmp(text, MAGIC, strlen("limpid-recording ")) == 0;
}

void recording_free(struct recording *r)
{
	if (!r)
		return;
	free(r->blocks);
	free(r->calls);
	arena_free(r->arena);
	free(r);
}

/* The next word of a line, which *s is behind then; its length. */
static size_t word(const char **s, const char *end, const char **out)
{
	const char *space = memchr(*s, ' ', (size_t)(end - *s));
	size_t len = (size_t)((space ? space : end) - *s);

	*out = *s;
	*s = space ? space + 1 : end;
	return len;
}

static int word_number(const char **s, const char *end, uint64_t max, uint64_t *out)
{
	const char *w;
	size_t len = word(s, end, &w);

	return text_u64_n(w, len, 0, max, out);
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int block_parse(struct recording *r, const char *s, const char *end)
{
	struct block b = {0};
	uint64_t insns;
	const char *w;
	size_t len = word(&s, end, &w);

	if (len == 0 || len > 16)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (digit(w[i]) < 0)
			return -EINVAL;
		b.vaddr = b.vaddr << 4 | (uint64_t)digit(w[i]);
	}
	if (word_number(&s, end, BLOCK_MAX, &insns) < 0 || word_number(&s, end, UINT64_MAX, &b.count) < 0)
		return -EINVAL;
	len = word(&s, end, &w);
	if (s != end || len == 0 || len % 2 || len / 2 > BLOCK_MAX || insns == 0 || insns > len / 2 ||
	    b.vaddr > UINT64_MAX - len / 2)
		return -EINVAL;
	if (r->n_blocks && r->blocks[r->n_blocks - 1].vaddr > b.vaddr)
		return -EINVAL;
	if (r->n_blocks == BLOCKS_MAX)
		return -ERR_LIMIT;
	b.insns = (uint32_t)insns;
	b.len = (uint32_t)(len / 2);
	uint8_t *bytes = arena_alloc(r->arena, b.len);
	for (size_t i = 0; i < b.len; i++) {
		int high = digit(w[2 * i]), low = digit(w[2 * i + 1]);
		if (high < 0 || low < 0)
			return -EINVAL;
		bytes[i] = (uint8_t)(high << 4 | low);
	}
	b.bytes = bytes;
	VEC_GROW(r->blocks, r->n_blocks, r->cap_blocks);
	r->blocks[r->n_blocks++] = b;
	return 0;
}

static int call_parse(struct recording *r, const char *s, const char *end)
{
	uint64_t from, to, count;

	/* blocks stand before calls */
	if (word_number(&s, end, r->n_blocks - 1, &from) < 0 || word_number(&s, end, r->n_blocks - 1, &to) < 0 ||
	    word_number(&s, end, UINT64_MAX, &count) < 0 || s != end || r->n_blocks == 0)
		return -EINVAL;
	if (r->n_calls == BLOCKS_MAX)
		return -ERR_LIMIT;
	VEC_GROW(r->calls, r->n_calls, r->cap_calls);
	r->calls[r->n_calls++] = (struct block_call){(uint32_t)from, (uint32_t)to, count};
	return 0;
}

/* 1: the last line. */
static int line_parse(struct recording *r, const char *line, size_t len, bool *marked)
{
	const char *s = line, *end = line + len, *w;
	size_t n = word(&s, end, &w);
	const struct {
		const char *name;
		uint64_t *to;
	} sums[] = {{"kernel", &r->kernel}, {"firmware", &r->firmware}, {"lost", &r->lost}};

	if (n == 5 && memcmp(w, "block", n) == 0)
		return block_parse(r, s, end);
	if (n == 4 && memcmp(w, "call", n) == 0)
		return call_parse(r, s, end);
	if (n == 3 && memcmp(w, "end", n) == 0) {
		*marked = strncmp(s, "unmarked", (size_t)(end - s)) != 0;
		return 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(sums); i++)
		if (n == strlen(sums[i].name) && memcmp(w, sums[i].name, n) == 0)
			return word_number(&s, end, UINT64_MAX, sums[i].to);
	return -EINVAL;
}

int recording_parse(const char *text, size_t len, const char *file, struct recording **out, struct err *e)
{
	_cleanup_(recording_freep) struct recording *rec = xcalloc(1, sizeof(*rec));
	const char *pos = text, *line;
	size_t line_len, n = 1;
	bool marked = true, complete;
	int r = 0;

	rec->arena = arena_new();
	if (len < strlen(MAGIC) || memcmp(text, MAGIC, strlen(MAGIC)) != 0)
		return err_set(e, -ERR_FORMAT, "%s: not a recording that this mixer knows", file);
	pos += strlen(MAGIC);
	while (r == 0 && text_line(&pos, text + len, &line, &line_len, &complete)) {
		n++;
		r = complete ? line_parse(rec, line, line_len, &marked) : -EINVAL;
	}
	if (r == 0) {
		err_set(e, -ERR_FORMAT, "%s: the recording has no end", file);
		return err_hint(e, -ERR_FORMAT,
				"QEMU writes it when the guest switches off; a killed one leaves a part");
	}
	if (r == -ERR_LIMIT)
		return err_set(e, r, "%s: a recording of more than %u blocks", file, BLOCKS_MAX);
	if (r < 0 || pos != text + len)
		return err_set(e, -ERR_FORMAT, "%s: line %zu: not a line of a recording", file, n);
	if (!marked)
		return err_set(e, -ERR_FORMAT, "%s: the workload has not begun", file);
	*out = take(rec);
	return 0;
}
