/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "controller/process.h"

void process_ready(const struct process *process)
{
	char one = 1;

	(void)!write(process->ready_fd, &one, 1);
}

bool process_stop_asked(int signal_fd)
{
	struct signalfd_siginfo info;

	return read(signal_fd, &info, sizeof(info)) == sizeof(info) && info.ssi_signo != SIGHUP;
}
