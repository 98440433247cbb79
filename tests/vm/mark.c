/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mark [-m] [-o] [-r] [COMMAND [ARGUMENT…]]: executes 'xchg %bx,%bx', which does nothing but is seen by the plugin that counts instructions (count.c), then runs the
 * command in its own place. -m: writes what memory the guest uses to the console first. -o: powers off, when there is no command.
 * -r: executes 'xchg %cx,%cx', too: where recordings begin and end (mixer/record). Static, so that it runs in any root; benchmarks put it before PID 1 and make it
 * the workload.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

static void print_memory(int console)
{
	static const char *const wanted[] = {
		"MemTotal:", "MemFree:", "MemAvailable:", "Cached:", "AnonPages:", "Slab:"};
	char text[8192], *next;
	int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return;
	text[n] = '\0';
	for (char *line = text; line && *line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		for (size_t i = 0; i < sizeof(wanted) / sizeof(*wanted); i++)
			if (strncmp(line, wanted[i], strlen(wanted[i])) == 0)
				dprintf(console, "mark: %s\n", line);
	}
}

int main(int argc, char **argv)
{
	bool memory = false, off = false;
	int i = 1;

	__asm__ volatile("xchg %bx,%bx");
	for (; i < argc && *argv[i] == '-'; i++) {
		memory |= strcmp(argv[i], "-m") == 0;
		off |= strcmp(argv[i], "-o") == 0;
		if (strcmp(argv[i], "-r") == 0)
			__asm__ volatile("xchg %cx,%cx");
	}
	int console = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (memory)
		print_memory(console < 0 ? STDOUT_FILENO : console);
	if (argv[i]) {
		execv(argv[i], argv + i);
		perror(argv[i]);
		return 127;
	}
	if (off)
		(void)reboot(RB_POWER_OFF);
	return 0;
}
