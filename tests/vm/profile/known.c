/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * known [N]: what profile.bats records: a program whose counts anybody can tell. hot() calls by pointer N times and has step() inlined once in eight rounds; then, with
 * another target, N / 10 times. weigh(), which is too large to be inlined where it is called from twice, is called from a hot and from a cold place.
 */
#include <stdio.h>
#include <stdlib.h>

static inline __attribute__((always_inline)) unsigned step(unsigned x)
{
	if (x & 1)
		return x * 3 + 1;
	return x / 2;
}

static unsigned twice(unsigned x)
{
	return x * 2;
}

static unsigned thrice(unsigned x)
{
	return x * 3;
}

static unsigned (*volatile operation)(unsigned) = twice;

static unsigned weigh(unsigned x)
{
	if (x % 64 == 63) {
		for (unsigned i = 0; i < 4; i++)
			x ^= x << 13 ^ x >> 17 ^ x << 5;
		if (x > 0xfffffff0)
			fprintf(stderr, "rare %u\n", x);
		else if (x > 0xffffff00)
			fprintf(stderr, "rarer %u\n", x);
	}
	return x + 1;
}

__attribute__((noinline)) unsigned hot(unsigned n)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < n; i++) {
		sum += operation(i);
		if (i % 8 == 7)
			sum ^= step(i);
		sum += weigh(i);
	}
	return sum;
}

__attribute__((noinline)) unsigned cold(unsigned n)
{
	return n > 1000 ? weigh(n) + thrice(n) : n;
}

int main(int argc, char **argv)
{
	unsigned n = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
	unsigned sum = hot(n);

	operation = thrice;
	sum += hot(n / 10) + cold(5);
	printf("%u\n", sum);
	return 0;
}
