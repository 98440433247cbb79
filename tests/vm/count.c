/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * QEMU plugin (plugin API 1, QEMU 7.2 and later) that counts what a guest of one CPU executes without KVM.
 *
 *     qemu-system-x86_64 -accel tcg -icount shift=0,sleep=off … -plugin count.so,out=FILE[,mmio=on][,map=System.map]
 *         out=FILE   where the counts go (default: standard error)
 *         mmio=on    counts reads and writes of device memory, too; slower, for it looks at each access
 *         map=FILE   a profile by kernel function; symbols from a System.map of that kernel
 *
 * The file has a line each time that the guest comes by a mark. Marks are: the first instruction of the kernel's half of
 * addresses ("kernel"), the first of a process ("user"), each 'xchg %bx,%bx' (66 87 db) that a program executes ("xchg", does
 * nothing otherwise; see mark.c), and the guest's end ("end"):
 *
 *     MARK name=user insn=N user=N kernel=N low=N rep=N pio=N cpuid=N msr=N hlt=N mmio=N exits=N
 *
 * All are sums since power-on. insn = user + kernel + low. Kernel: addresses in the upper half; user: in the lower half, after
 * the kernel has begun; low: in the lower half before that, which is firmware, unpacking, and the kernel's first page tables.
 * A repeated string instruction counts once in insn; rep counts its further rounds (the emulator sees each as an instruction).
 * pio, cpuid, msr, hlt: instructions that leave the guest for the hypervisor under KVM, or may; mmio (0 without mmio=on):
 * accesses to devices; exits is the sum of these five, with map= without those that only this emulator causes: measuring the
 * time stamp counter by the PIT (KVM tells a guest its clock), and the search for KVM's signature (which KVM ends at once).
 *
 * With map= the profile at the first mark and at the end follows, a line for each function, the most expensive first:
 *
 *     FUNC mark=user name=F self=N total=N calls=N exits=N exits_total=N
 *
 * self: instructions of the function, total: with all that it called, calls: how often it was entered by a call; likewise the
 * exits. Totals follow a stack of calls that task switches disturb a little; selfs are exact.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mixer/record/qemu_plugin.h"

/* The kernel has begun when it has executed so much: its entry goes back and forth between the halves before. */
static const uint64_t kernel_begun = 100000;
/* Deepest stack of calls that is followed; the kernel's own is 16 KiB, which is far fewer frames. */
enum { DEPTH = 512 };

/* Functions whose exits KVM knows nothing of. */
static const char *const emulated[] = {
	"quick_pit_calibrate",        "pit_calibrate_tsc", "pit_hpet_ptimer_calibrate_cpu",
	"native_calibrate_cpu_early", "pit_expect_msb",    "pit_verify_msb",
	"__kvm_cpuid_base",           "kvm_cpuid_base"};

struct function {
	uint64_t start;
	const char *name;
	uint64_t self, total, calls, exits, exits_total;
	/* totals are added when the outermost of nested activations ends */
	unsigned active;
	bool emulated;
};

/* A translated block and what the guest does at its end. */
struct block {
	struct function *function;
	uint64_t vaddr, end, insns;
	bool call, ret;
};

struct frame {
	struct function *function;
	uint64_t back, entered, exits;
};

enum kind { PIO, CPUID, MSR, HLT, MMIO, KINDS };

static const char *const kinds[] = {"pio", "cpuid", "msr", "hlt", "mmio"};

/* One guest, one CPU: what QEMU's callbacks share has no other place. */
static struct {
	FILE *out;
	uint64_t user, kernel, low, rep;
	uint64_t exits[KINDS];
	bool mmio, kernel_seen, user_seen;
	struct function *functions;
	size_t function_count;
	const struct block *last;
	struct frame stack[DEPTH];
	size_t depth;
} guest;

__attribute__((visibility("default"))) int qemu_plugin_version = 1;

static uint64_t executed(void)
{
	return guest.user + guest.kernel + guest.low - guest.rep;
}

static uint64_t exits_sum(void)
{
	uint64_t sum = 0;

	for (int k = 0; k < KINDS; k++)
		sum += guest.exits[k];
	return sum;
}

static int by_total(const void *a, const void *b)
{
	const struct function *f = *(struct function *const *)a, *g = *(struct function *const *)b;

	return f->total != g->total ? (f->total < g->total ? 1 : -1) : strcmp(f->name, g->name);
}

/* Calls that have not returned count up to now. */
static void profile_write(const char *mark)
{
	struct function **sorted = calloc(guest.function_count, sizeof(*sorted));
	struct function *open = calloc(guest.function_count, sizeof(*open));

	if (!sorted || !open)
		abort();
	for (size_t i = guest.depth; i-- > 0;) {
		const struct frame *f = &guest.stack[i];

		/* the outermost activation is the one that stays */
		open[f->function - guest.functions].total = executed() - f->entered;
		open[f->function - guest.functions].exits_total = exits_sum() - f->exits;
	}
	for (size_t i = 0; i < guest.function_count; i++) {
		sorted[i] = &guest.functions[i];
		guest.functions[i].total += open[i].total;
		guest.functions[i].exits_total += open[i].exits_total;
	}
	qsort(sorted, guest.function_count, sizeof(struct function *), by_total);
	for (size_t i = 0; i < guest.function_count; i++)
		if (sorted[i]->self)
			fprintf(guest.out,
				"FUNC mark=%s name=%s self=%lu total=%lu calls=%lu exits=%lu exits_total=%lu\n", mark,
				sorted[i]->name, sorted[i]->self, sorted[i]->total, sorted[i]->calls, sorted[i]->exits,
				sorted[i]->exits_total);
	for (size_t i = 0; i < guest.function_count; i++) {
		guest.functions[i].total -= open[i].total;
		guest.functions[i].exits_total -= open[i].exits_total;
	}
	free(open);
	free(sorted);
}

static void mark_write(const char *name)
{
	uint64_t exits = exits_sum();

	fprintf(guest.out, "MARK name=%s insn=%lu user=%lu kernel=%lu low=%lu rep=%lu", name, executed(), guest.user,
		guest.kernel, guest.low, guest.rep);
	for (int k = 0; k < KINDS; k++)
		fprintf(guest.out, " %s=%lu", kinds[k], guest.exits[k]);
	for (size_t i = 0; i < guest.function_count; i++)
		if (guest.functions[i].emulated)
			exits -= guest.functions[i].exits;
	fprintf(guest.out, " exits=%lu\n", exits);
	fflush(guest.out);
}

static void on_xchg(unsigned cpu, void *arg)
{
	(void)cpu;
	(void)arg;
	mark_write("xchg");
}

static void on_kernel(unsigned cpu, void *arg)
{
	(void)cpu;
	(void)arg;
	if (guest.kernel_seen)
		return;
	guest.kernel_seen = true;
	mark_write("kernel");
}

static void on_user(unsigned cpu, void *arg)
{
	(void)cpu;
	(void)arg;
	if (guest.user_seen)
		return;
	guest.user_seen = true;
	mark_write("user");
	if (guest.function_count)
		profile_write("user");
}

static void on_exit_of_guest(qemu_plugin_id_t id, void *arg)
{
	(void)id;
	(void)arg;
	mark_write("end");
	if (guest.function_count)
		profile_write("end");
	fclose(guest.out);
}

static void on_memory(unsigned cpu, uint32_t info, uint64_t vaddr, void *arg)
{
	struct function *function = arg;
	struct qemu_plugin_hwaddr *address = qemu_plugin_get_hwaddr(info, vaddr);

	(void)cpu;
	if (!address || !qemu_plugin_hwaddr_is_io(address))
		return;
	guest.exits[MMIO]++;
	if (function)
		function->exits++;
}

/* The function that address lies in; NULL: of the lower half, or there is no System.map. */
static struct function *function_find(uint64_t address)
{
	size_t low = 0, high = guest.function_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (guest.functions[mid].start <= address)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &guest.functions[low - 1] : NULL;
}

static void frame_pop(void)
{
	struct frame *f = &guest.stack[--guest.depth];

	if (--f->function->active > 0)
		return;
	f->function->total += executed() - f->entered;
	f->function->exits_total += exits_sum() - f->exits;
}

/* Before each block of the kernel, when there is a profile: follows its calls and returns. */
static void on_block(unsigned cpu, void *arg)
{
	const struct block *now = arg, *last = guest.last;

	(void)cpu;
	guest.last = now;
	if (!last)
		return;
	if (last->call && now->vaddr != last->end) {
		now->function->calls++;
		if (guest.depth < DEPTH) {
			guest.stack[guest.depth++] = (struct frame){now->function, last->end, executed(), exits_sum()};
			now->function->active++;
		}
	} else if (last->ret) {
		size_t i = guest.depth;

		/* another task's stack has no frame for this address: nothing ends */
		while (i > 0 && guest.stack[i - 1].back != now->vaddr)
			i--;
		while (i > 0 && guest.depth >= i)
			frame_pop();
	}
}

/* What kind of exit the instruction at d[0..n) may cause; KINDS: none. Prefixes are skipped; *repeated: one is rep. */
static enum kind insn_kind(const uint8_t *d, size_t n, bool *repeated, uint8_t *opcode)
{
	size_t i = 0;

	*repeated = false;
	while (i < n && (d[i] == 0xf2 || d[i] == 0xf3 || d[i] == 0x66 || (d[i] & 0xf0) == 0x40)) {
		*repeated |= d[i] == 0xf2 || d[i] == 0xf3;
		i++;
	}
	*opcode = i < n ? d[i] : 0;
	if (i >= n)
		return KINDS;
	if ((d[i] >= 0xec && d[i] <= 0xef) || (d[i] >= 0xe4 && d[i] <= 0xe7) || (d[i] >= 0x6c && d[i] <= 0x6f))
		return PIO;
	if (d[i] == 0xf4)
		return HLT;
	if (d[i] != 0x0f || i + 1 >= n)
		return KINDS;
	if (d[i + 1] == 0xa2)
		return CPUID;
	return d[i + 1] == 0x30 || d[i + 1] == 0x32 ? MSR : KINDS;
}

static bool is_string(uint8_t opcode)
{
	return (opcode >= 0xa4 && opcode <= 0xa7) || (opcode >= 0xaa && opcode <= 0xaf);
}

/* Whether the instruction calls (ff /2, e8) or returns (c3, c2, cb, cf). */
static void block_end(struct block *b, const uint8_t *d, size_t n)
{
	size_t i = 0;

	while (i + 1 < n && (d[i] == 0xf2 || d[i] == 0xf3 || d[i] == 0x2e || d[i] == 0x3e || (d[i] & 0xf0) == 0x40))
		i++;
	b->call = d[i] == 0xe8 || (d[i] == 0xff && i + 1 < n && (d[i + 1] & 0x38) == 0x10);
	b->ret = d[i] == 0xc3 || d[i] == 0xc2 || d[i] == 0xcb || d[i] == 0xcf;
}

static void block_follow(struct qemu_plugin_tb *tb, uint64_t vaddr, size_t n, struct function *function)
{
	struct qemu_plugin_insn *end = qemu_plugin_tb_get_insn(tb, n - 1);
	struct block *b = calloc(1, sizeof(*b));

	if (!b)
		abort();
	b->function = function;
	b->vaddr = vaddr;
	b->end = qemu_plugin_insn_vaddr(end) + qemu_plugin_insn_size(end);
	b->insns = n;
	block_end(b, qemu_plugin_insn_data(end), qemu_plugin_insn_size(end));
	qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, NO_REGS, b);
}

/* tb's instructions that exit, mark, or repeat. */
static void insns_watch(struct qemu_plugin_tb *tb, size_t n, bool user, struct function *function)
{
	for (size_t i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		const uint8_t *d = qemu_plugin_insn_data(insn);
		size_t size = qemu_plugin_insn_size(insn);
		bool repeated;
		uint8_t opcode;
		enum kind kind = insn_kind(d, size, &repeated, &opcode);

		if (user && size == 3 && memcmp(d, "\x66\x87\xdb", 3) == 0)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, on_xchg, NO_REGS, NULL);
		if (kind != KINDS) {
			qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD, &guest.exits[kind], 1);
			if (function)
				qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD, &function->exits, 1);
		}
		/* the first round is in the block before; each further one is a block of its own */
		if (repeated && n == 1 && is_string(opcode)) {
			qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &guest.rep, 1);
			if (function)
				qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &function->self, (uint64_t)-1);
		}
		if (guest.mmio)
			qemu_plugin_register_vcpu_mem_cb(insn, on_memory, NO_REGS, READ_WRITE, function);
	}
}

static void on_translate(qemu_plugin_id_t id, struct qemu_plugin_tb *tb)
{
	uint64_t vaddr = qemu_plugin_tb_vaddr(tb);
	size_t n = qemu_plugin_tb_n_insns(tb);
	bool kernel = vaddr >> 63, user = !kernel && guest.kernel >= kernel_begun;
	struct function *function = kernel ? function_find(vaddr) : NULL;

	(void)id;
	if (kernel && !guest.kernel_seen)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_kernel, NO_REGS, NULL);
	if (user && !guest.user_seen)
		qemu_plugin_register_vcpu_tb_exec_cb(tb, on_user, NO_REGS, NULL);
	if (function) {
		block_follow(tb, vaddr, n, function);
		qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, &function->self, n);
	}
	insns_watch(tb, n, user, function);
	qemu_plugin_register_vcpu_tb_exec_inline(tb, ADD, kernel ? &guest.kernel : user ? &guest.user : &guest.low, n);
}

static int by_start(const void *a, const void *b)
{
	const struct function *f = a, *g = b;

	return f->start != g->start ? (f->start < g->start ? -1 : 1) : strcmp(f->name, g->name);
}

/* Symbols of code in a System.map: "ffffffff81000000 T name". */
static bool map_load(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[512], name[256], type;
	size_t room = 0;

	if (!f)
		return false;
	while (fgets(line, sizeof(line), f)) {
		char *end;
		uint64_t start = strtoull(line, &end, 16);

		if (!(start >> 63) || sscanf(end, " %c %255s", &type, name) != 2 || !strchr("tTwW", type))
			continue;
		if (guest.function_count == room) {
			room = room ? 2 * room : 32768;
			guest.functions = realloc(guest.functions, room * sizeof(*guest.functions));
		}
		char *copy = strdup(name);
		if (!guest.functions || !copy)
			abort();
		struct function function = {.start = start, .name = copy};
		for (size_t i = 0; i < sizeof(emulated) / sizeof(*emulated); i++)
			function.emulated |= strcmp(name, emulated[i]) == 0;
		guest.functions[guest.function_count++] = function;
	}
	fclose(f);
	qsort(guest.functions, guest.function_count, sizeof(*guest.functions), by_start);
	return guest.function_count > 0;
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const struct qemu_info *info,
							       int argc, char **argv)
{
	(void)info;
	guest.out = stderr;
	for (int i = 0; i < argc; i++) {
		if (strncmp(argv[i], "out=", 4) == 0) {
			guest.out = fopen(argv[i] + 4, "we");
			if (!guest.out) {
				perror(argv[i] + 4);
				return -1;
			}
		} else if (strncmp(argv[i], "map=", 4) == 0) {
			if (!map_load(argv[i] + 4)) {
				fprintf(stderr, "count: %s: no symbols\n", argv[i] + 4);
				return -1;
			}
		} else if (strcmp(argv[i], "mmio=on") == 0) {
			guest.mmio = true;
		} else {
			fprintf(stderr, "count: unknown option '%s'\n", argv[i]);
			return -1;
		}
	}
	qemu_plugin_register_vcpu_tb_trans_cb(id, on_translate);
	qemu_plugin_register_atexit_cb(id, on_exit_of_guest, NULL);
	return 0;
}
