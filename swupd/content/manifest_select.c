/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/content/manifest.h"

#include <stdlib.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "swupd/base/table.h"

/* For which CPU level a variant is: 0 all, 1 AVX2, 2 AVX512, 3 APX */
static const uint8_t variant_level[VARIANT_MAX + 1] = {
	0, 0, 0, 0, /* . a c d: for all, beside none, AVX2, AVX512, both */
	1, 1, 2, 2, /* e f g h */
	0, 0, 0, 0, /* i j k l: the same beside APX */
	1, 1, 2, 2, /* m n o p */
	3, 3, 3, 3, /* q r t u */
};

static bool is_level(unsigned levels, uint8_t variant)
{
	unsigned level = variant_level[variant];

	return level == 0 || levels & 1U << (level - 1);
}

void manifest_select(struct manifest *m, unsigned levels)
{
	_cleanup_(table_freep) struct table *best = table_new();
	size_t kept = 0, i = 0;

	while (i < m->n_entries && m->entries[i].variant == 0)
		i++;
	if (i == m->n_entries)
		return;
	/*
	 * The highest level of this CPU that the path has. The predecessor asks each line whether it is the best of the set that its
	 * letter claims, which leaves none or two when the lines do not agree; this always leaves one if one can run.
	 */
	for (i = 0; i < m->n_entries; i++) {
		struct entry *x = &m->entries[i];
		const struct entry *other = table_find_str(best, x->name);
		if (is_level(levels, x->variant) &&
		    (!other || variant_level[x->variant] > variant_level[other->variant]))
			table_set_str(best, x->name, x);
	}
	bool *keep = xcalloc(m->n_entries, sizeof(*keep));
	for (i = 0; i < m->n_entries; i++)
		keep[i] = table_find_str(best, m->entries[i].name) == &m->entries[i];
	for (i = 0; i < m->n_entries; i++)
		if (keep[i])
			m->entries[kept++] = m->entries[i];
	m->n_entries = kept;
	free(keep);
}

#if defined(__x86_64__)
/* Does the kernel save this state component at a switch? XCR0 tells (Intel SDM volume 1, 13.3). */
static bool has_state(unsigned bit)
{
	unsigned a, b, c, d, low, high;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return false;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return ((uint64_t)high << 32 | low) >> bit & 1;
}

/* Tiger Lake lowers its clock so much for AVX512 that the predecessor chose AVX2 there */
static bool is_slow_avx512(void)
{
	unsigned a, b, c, d;

	if (!__builtin_cpu_is("intel") || !__get_cpuid(1, &a, &b, &c, &d))
		return false;
	unsigned model = (a >> 4 & 0xf) | (a >> 12 & 0xf0);
	return (a >> 8 & 0xf) == 6 && (model == 0x8c || model == 0x8d);
}

unsigned manifest_cpu_levels(void)
{
	unsigned levels = 0, a, b, c, d;

	__builtin_cpu_init();
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
		return 0;
	levels |= 1;
	if (__builtin_cpu_supports("avx512vl") && !is_slow_avx512())
		levels |= 2;
	/* APX: leaf 7.1 EDX bit 21, and its 16 registers are state component 19 */
	if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && d & 1U << 21 && has_state(19))
		levels |= 4;
	return levels;
}
#else
unsigned manifest_cpu_levels(void)
{
	return 0;
}
#endif
