/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The smallest PID 1, to measure kernels with: its first instruction is the end of the kernel's start; then it resets the machine, which ends QEMU with -no-reboot. No libc: built with -nostdlib -static -e start. */
#include <linux/reboot.h>
#include <sys/syscall.h>

void start(void);

void start(void)
{
	long number = SYS_reboot;

	__asm__ volatile("syscall"
			 : "+a"(number)
			 : "D"(LINUX_REBOOT_MAGIC1), "S"(LINUX_REBOOT_MAGIC2), "d"(LINUX_REBOOT_CMD_RESTART)
			 : "rcx", "r11", "memory");
	for (;;)
		__asm__ volatile("pause");
}
