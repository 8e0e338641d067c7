/* SPDX-License-Identifier: GPL-2.0-or-later */

/** @file Every text in tests/policy/wrong/ has exactly the errors that stand behind its mark: line,
 * column, message. */

#include <dirent.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "policy/policy.h"
#include "tests/tap.h"

#define MARK       "=== errors ===\n"
#define TEXT_BYTES 65536
#define TEXTS_MIN  200

static char text[TEXT_BYTES], found[TEXT_BYTES];

static bool text_read(const char *folder, const char *name)
{
	char path[4096];
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "re");
	if (file == NULL) {
		return false;
	}
	size_t bytes = fread(text, 1, sizeof(text) - 1, file);
	text[bytes] = '\0';
	(void)fclose(file);
	return strlen(text) == bytes;
}

static void errors_format(const struct policy_errors *errors)
{
	size_t used = 0;

	found[0] = '\0';
	for (size_t i = 0; i < errors->count; i++) {
		used += (size_t)snprintf(found + used, sizeof(found) - used, "%u:%u: %s\n",
		                         errors->items[i].line, errors->items[i].column,
		                         errors->items[i].message);
	}
}

static void test_text(const char *folder, const char *name)
{
	_cleanup_(pr_free) struct policy_errors *errors = calloc(1, sizeof(*errors));
	_cleanup_(policy_model_destroy) policy_model_t *model = NULL;
	char *mark = text_read(folder, name) ? strstr(text, MARK) : NULL;

	if (mark == NULL || errors == NULL) {
		ok(false, "%s: no mark, or a NUL byte", name);
		return;
	}
	int ret = policy_text_parse(text, (size_t)(mark - text), errors, &model);
	errors_format(errors);
	bool good =
		ret == PR_EPOLICY && errors->count > 0 && strcmp(found, mark + strlen(MARK)) == 0;
	ok(good && model == NULL, "%s", name);
	if (!good) {
		printf("# found:\n%s# wanted:\n%s", found, mark + strlen(MARK));
	}
}

int main(void)
{
	const char *source = getenv("srcdir");
	char folder[2048];
	struct dirent **names = NULL;

	(void)snprintf(folder, sizeof(folder), "%s/tests/policy/wrong",
	               source != NULL ? source : ".");
	int count = scandir(folder, &names, NULL, alphasort);
	int texts = 0;
	for (int i = 0; i < count; i++) {
		if (names[i]->d_name[0] != '.') {
			test_text(folder, names[i]->d_name);
			texts++;
		}
		free(names[i]);
	}
	free(names);
	ok(texts >= TEXTS_MIN, "%d wrong texts", texts);
	return tap_done();
}
