/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "recorder/recorder.h"

int main(int argc, char **argv)
{
	return recorder_main(argc, argv);
}
