/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU plugin (plugin API 1, QEMU 7.2 and later) that records how often a guest of one CPU executes each block of code without KVM.
 *
 *     qemu-system-x86_64 -accel tcg … -plugin record.so,out=FILE[,kernel=on][,from=N[,until=M]]
 *         out=FILE   where the recording goes when the guest ends: profile(5), RECORDINGS
 *         kernel=on  blocks of the kernel, too
 *         from=N     counts begin at the N-th 'xchg %cx,%cx' (66 87 c9) that a program executes: mark -r
 *         until=M    and end at the M-th one after it; without it, when the guest does
 *
 * Each block that QEMU translates has a counter that the translated code adds to by itself: no call, and no sample is missed. It is remembered with its address and
 * bytes, by which 'mixer profile record' finds the file it is of; the guest need not tell what it maps where. Calls by pointer also need their targets. No callback of
 * this API knows them, so there are two: the call instruction's leaves a note, and the one of the block that is executed next takes it. Blocks that can be such a target
 * are those that begin with endbr64, as compilers of today have all of them begin (-fcf-protection), and those first translated while there is a note. A kernel may be
 * without endbr64, but its functions begin at multiples of 16; what else does is no target unless the kernel did nothing since the note.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/record/qemu_plugin.h"

/* The kernel has begun when it has executed so much: its entry goes back and forth between the halves before. */
static const uint64_t kernel_begun = 100000;
/* A guest with all of systemd and a shell executes 0.1 million; beyond this a JIT is at work, and it costs memory only. */
enum { BLOCKS_MAX = 4 << 20 };
/* Compilers make at most a few targets of a call direct. */
enum { TARGETS_MAX = 32 };
/* Of its functions (CONFIG_FUNCTION_ALIGNMENT): those that begin otherwise are assembly's, and few. */
enum { KERNEL_ALIGNMENT = 16 };

struct target {
	struct target *next;
	const struct block *block;
	uint64_t count;
};

struct block {
	uint64_t count, before; /* before: the mark that counts begin at */
	uint64_t vaddr, hash;
	struct target *targets;
	uint8_t *bytes;
	uint32_t len, insns;
	uint32_t number; /* in the recording */
};

/* One guest, one CPU: what QEMU's callbacks share has no other place. */
static struct {
	FILE *out;
	bool with_kernel;
	unsigned from, until;                            /* marks to go */
	uint64_t kernel, low, lost;                      /* instructions */
	uint64_t kernel_before, low_before, lost_before; /* at the mark */
	struct block **table;
	size_t room, n;
	struct block *call;   /* by pointer, whose target has not been seen */
	uint64_t call_kernel; /* what the kernel had executed then */
} guest;

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		abort();
	return p;
}

/* --- blocks -------------------------------------------------------------------------------------------------------------- */

static size_t place_of(uint64_t vaddr, uint64_t hash, const uint8_t *bytes, uint32_t len)
{
	size_t i = (hash ^ vaddr * 0x9e3779b97f4a7c15ULL) & (guest.room - 1);

	for (; guest.table[i]; i = (i + 1) & (guest.room - 1)) {
		const struct block *b = guest.table[i];
		if (b->vaddr == vaddr && b->hash == hash && b->len == len && memcmp(b->bytes, bytes, len) == 0)
			break;
	}
	return i;
}

static void table_grow(void)
{
	struct block **old = guest.table;
	size_t n = guest.room;

	guest.room = n ? 2 * n : 1 << 16;
	guest.table = zeroed(guest.room, sizeof(*guest.table));
	for (size_t i = 0; i < n; i++)
		if (old[i])
			guest.table[place_of(old[i]->vaddr, old[i]->hash, old[i]->bytes, old[i]->len)] = old[i];
	free(old);
}

/* The block with these bytes at this address, in whatever process: the same counter each time that it is translated. NULL: there are too many. */
static struct block *block_get(uint64_t vaddr, const uint8_t *bytes, uint32_t len)
{
	uint64_t hash = 0xcbf29ce484222325ULL;

	for (uint32_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * 0x100000001b3ULL;
	if (2 * guest.n >= guest.room)
		table_grow();
	size_t i = place_of(vaddr, hash, bytes, len);
	if (guest.table[i])
		return guest.table[i];
	if (guest.n == BLOCKS_MAX)
		return NULL;
	struct block *b = zeroed(1, sizeof(*b) + len);
	b->vaddr = vaddr;
	b->hash = hash;
	b->len = len;
	b->bytes = (uint8_t *)(b + 1);
	memcpy(b->bytes, bytes, len);
	guest.table[i] = b;
	guest.n++;
	return b;
}

/* --- what is executed ---------------------------------------------------------------------------------------------------- */

static void on_call(unsigned cpu, void *arg)
{
	(void)cpu;
	guest.call = arg;
	guest.call_kernel = guest.kernel;
}

static bool is_kernel(uint64_t vaddr)
{
	return vaddr >> 63;
}

/* At the beginning of a block that may be called by pointer. */
static void on_target(unsigned cpu, void *arg)
{
	const struct block *target = arg;
	struct block *call = guest.call;
	unsigned n = 0;

	(void)cpu;
	/* an interrupt may be between a program's call and its target */
	if (!call || is_kernel(call->vaddr) != is_kernel(target->vaddr))
		return;
	guest.call = NULL;
	if (is_kernel(target->vaddr) && guest.kernel != guest.call_kernel)
		return;
	for (struct target **t = &call->targets; *t; t = &(*t)->next, n++)
		if ((*t)->block == arg) {
			/* to the front: a call mostly goes where it went last */
			struct target *found = *t;
			*t = found->next;
			found->next = call->targets;
			call->targets = found;
			found->count++;
			return;
		}
	if (n == TARGETS_MAX)
		return;
	struct target *t = zeroed(1, sizeof(*t));
	t->block = target;
	t->count = 1;
	t->next = call->targets;
	call->targets = t;
}

/* --- the recording ------------------------------------------------------------------------------------------------------- */

static int by_address(const void *a, const void *b)
{
	const struct block *x = *(struct block *const *)a, *y = *(struct block *const *)b;

	if (x->vaddr != y->vaddr)
		return x->vaddr < y->vaddr ? -1 : 1;
	return x->len != y->len ? (x->len < y->len ? -1 : 1) : memcmp(x->bytes, y->bytes, x->len);
}

static void block_write(const struct block *b)
{
	fprintf(guest.out, "block %lx %u %lu ", b->vaddr, b->insns, b->count - b->before);
	for (uint32_t i = 0; i < b->len; i++)
		fprintf(guest.out, "%02x", b->bytes[i]);
	fputc('\n', guest.out);
}

static void recording_write(void)
{
	struct block **ran = zeroed(guest.n + 1, sizeof(struct block *));
	uint32_t n = 0;

	for (size_t i = 0; i < guest.room; i++)
		if (guest.table[i] && guest.table[i]->count > guest.table[i]->before)
			ran[n++] = guest.table[i];
	qsort(ran, n, sizeof(struct block *), by_address);
	fprintf(guest.out, "limpid-recording 1\nkernel %lu\nfirmware %lu\nlost %lu\n",
		guest.with_kernel ? 0 : guest.kernel - guest.kernel_before, guest.low - guest.low_before,
		guest.lost - guest.lost_before);
	for (uint32_t i = 0; i < n; i++) {
		ran[i]->number = i;
		block_write(ran[i]);
	}
	for (uint32_t i = 0; i < n; i++)
		for (const struct target *t = ran[i]->targets; t; t = t->next)
			if (t->block->count > t->block->before)
				fprintf(guest.out, "call %u %u %lu\n", i, t->block->number, t->count);
	/* without this line it is not whole */
	fprintf(guest.out, "end %s\n", guest.from ? "unmarked" : "whole");
	if (fclose(guest.out) != 0)
		perror("record");
	guest.out = NULL;
	free(ran);
}

static void on_end(qemu_plugin_id_t id, void *arg)
{
	(void)id;
	(void)arg;
	if (guest.out)
		recording_write();
}

static void counts_begin(void)
{
	for (size_t i = 0; i < guest.room; i++)
		if (guest.table[i]) {
			guest.table[i]->before = guest.table[i]->count;
			/* a guest begins once: what is lost here is some kilobytes */
			guest.table[i]->targets = NULL;
		}
	guest.kernel_before = guest.kernel;
	guest.low_before = guest.low;
	guest.lost_before = guest.lost;
}

static void on_mark(unsigned cpu, void *arg)
{
	(void)cpu;
	(void)arg;
	if (guest.from) {
		if (--guest.from == 0)
			counts_begin();
	} else if (guest.until && --guest.until == 0 && guest.out) {
		recording_write();
	}
}

/* --- translation --------------------------------------------------------------------------------------------------------- */

static size_t prefixes(const uint8_t *d, size_t n)
{
	size_t i = 0;

	while (i + 1 < n &&
	       (d[i] == 0xf2 || d[i] == 0xf3 || d[i] == 0x2e || d[i] == 0x3e || d[i] == 0x66 || (d[i] & 0xf0) == 0x40))
		i++;
	return i;
}

static bool is_call_by_pointer(const uint8_t *d, size_t n)
{
	size_t i = prefixes(d, n);

	return i + 1 < n && d[i] == 0xff && (d[i + 1] & 0x38) == 0x10;
}

static bool is_repeated(const uint8_t *d, size_t n)
{
	size_t i = prefixes(d, n);

	return i && (memchr(d, 0xf2, i) || memchr(d, 0xf3, i)) &&
	       ((d[i] >= 0xa4 && d[i] <= 0xa7) || (d[i] >= 0xaa && d[i] <= 0xaf));
}

/* A stub of a procedure linkage table is called directly, and all the time: endbr64, and a jump by a pointer beside the code. */
static bool may_be_target(const uint8_t *bytes, size_t len)
{
	static const uint8_t endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};

	if (len < 4 || memcmp(bytes, endbr64, sizeof(endbr64)) != 0)
		return false;
	bytes += 4;
	len -= 4;
	if (len && *bytes == 0xf2) {
		bytes++;
		len--;
	}
	return !(len == 6 && bytes[0] == 0xff && bytes[1] == 0x25);
}

/* A block of n instructions that is recorded. */
static void block_watch(struct qemu_plugin_tb *tb, uint64_t vaddr, size_t n)
{
	uint8_t bytes[16 * 512];
	uint32_t len = 0;
	struct qemu_plugin_insn *end = NULL;

	for (size_t i = 0; i < n; i++) {
		end = qemu_plugin_tb_get_insn(tb, i);
		size_t size = qemu_plugin_insn_size(end);
		const uint8_t *d = qemu_plugin_insn_data(end);
		if (size > sizeof(bytes) - len)
			abort();
		memcpy(bytes + len, d, size);
		len += size;
		if ((guest.from || guest.until) && size == 3 && memcmp(d, "\x66\x87\xc9", 3) == 0)
			qemu_plugin_register_vcpu_insn_exec_cb(end, on_mark, NO_REGS, NULL);
	}
	/* a further round of a repeated instruction: the first one is in the block before, and a line's cost is how often it is come by */
	if (!end || (n == 1 && is_repeated(bytes, len)))
		return;
	struct block *b = block_get(vaddr, bytes, len);
	if (!b) {
		qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &guest.lost, n);
		return;
	}
	b->insns = n;
	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &b->count, 1);
	if (guest.call || may_be_target(bytes, len) || (is_kernel(vaddr) && vaddr % KERNEL_ALIGNMENT == 0))
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_target, NO_REGS, b);
	if (is_call_by_pointer(qemu_plugin_insn_data(end), qemu_plugin_insn_size(end)))
		qemu_plugin_register_vcpu_insn_exec_cb(end, on_call, NO_REGS, b);
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	uint64_t vaddr = qemu_plugin_tb_vaddr(tb);
	size_t n = qemu_plugin_tb_n_insns(tb);
	bool kernel = is_kernel(vaddr), low = !kernel && guest.kernel < kernel_begun;

	(void)id;
	if (low)
		qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &guest.low, n);
	else if (!kernel || guest.with_kernel)
		block_watch(tb, vaddr, n);
	/* behind on_target, which compares it with what it was at the call */
	if (kernel)
		qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &guest.kernel, n);
}

/* --- options --------------------------------------------------------------------------------------------------------------- */

static int usage(const char *option)
{
	fprintf(stderr, "record: '%s' is not an option of out=FILE, kernel=on, from=N, until=M\n", option);
	return -1;
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info,
							       int argc, char **argv)
{
	/* counters are added to without a lock */
	if (!info->system_emulation || info->smp_vcpus > 1) {
		fprintf(stderr, "record: a guest of one CPU is wanted\n");
		return -1;
	}
	for (int i = 0; i < argc; i++) {
		char *end = argv[i];
		if (strncmp(argv[i], "out=", 4) == 0 && !guest.out) {
			guest.out = fopen(argv[i] + 4, "we");
			if (!guest.out) {
				perror(argv[i] + 4);
				return -1;
			}
		} else if (strncmp(argv[i], "from=", 5) == 0) {
			guest.from = strtoul(argv[i] + 5, &end, 10);
			if (*end || !guest.from)
				return usage(argv[i]);
		} else if (strncmp(argv[i], "until=", 6) == 0) {
			guest.until = strtoul(argv[i] + 6, &end, 10);
			if (*end || !guest.until)
				return usage(argv[i]);
		} else if (strcmp(argv[i], "kernel=on") == 0) {
			guest.with_kernel = true;
		} else {
			return usage(argv[i]);
		}
	}
	if (!guest.out)
		return usage("");
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_atexit_cb(id, on_end, NULL);
	return 0;
}
