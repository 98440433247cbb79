/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "swupd/client/deadline.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "swupd/base/mem.h"
#include "swupd/base/ui.h"
#include "swupd/client/machine.h"
#include "swupd/client/post.h"

#define WATCHDOG "/dev/watchdog"

void deadline_start(const struct machine *m, uint32_t seconds)
{
	static const char *const softdog[] = {"modprobe", "--quiet", "softdog", NULL};
	int timeout = (int)seconds;

	if (access(WATCHDOG, F_OK) < 0)
		(void)post_run(softdog, NULL, NULL);
	/* opening it starts it, closing it without the letter does not stop it */
	_cleanup_close_ int fd = open(WATCHDOG, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		ui_warn(m->ui, "no watchdog keeps the deadline of the trial: " WATCHDOG ": %s", strerrordesc_np(errno));
	else if (ioctl(fd, WDIOC_SETTIMEOUT, &timeout) < 0)
		ui_warn(m->ui, "the watchdog does not take a deadline of %u seconds: %s", seconds,
			strerrordesc_np(errno));
}

void deadline_end(const struct machine *m)
{
	if (strcmp(m->path, "/") != 0)
		return;
	_cleanup_close_ int fd = open(WATCHDOG, O_WRONLY | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT && errno != ENODEV && errno != EBUSY)
		ui_warn(m->ui, "the deadline of the trial cannot be ended: " WATCHDOG ": %s", strerrordesc_np(errno));
	/* with this letter closing it stops it */
	if (fd >= 0 && write(fd, "V", 1) != 1)
		ui_warn(m->ui, "the deadline of the trial cannot be ended: " WATCHDOG ": %s", strerrordesc_np(errno));
}
