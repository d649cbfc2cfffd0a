#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/why.h"
#include "export/curl.h"

/* SONAME 4 has been binary compatible since 2006; url_strerror, the youngest of these, came with 7.80. */
#define CURL_LIBRARY "libcurl.so.4"

#define ENTRY(member, symbol)                              \
	{                                                  \
		offsetof(struct curl_api, member), #symbol \
	}
static const struct {
	size_t offset;
	const char *symbol;
} entries[] = {
	ENTRY(global_init, curl_global_init),
	ENTRY(easy_init, curl_easy_init),
	ENTRY(easy_cleanup, curl_easy_cleanup),
	ENTRY(easy_reset, curl_easy_reset),
	ENTRY(easy_setopt, curl_easy_setopt),
	ENTRY(easy_getinfo, curl_easy_getinfo),
	ENTRY(easy_perform, curl_easy_perform),
	ENTRY(easy_strerror, curl_easy_strerror),
	ENTRY(slist_append, curl_slist_append),
	ENTRY(slist_free_all, curl_slist_free_all),
	ENTRY(multi_init, curl_multi_init),
	ENTRY(multi_cleanup, curl_multi_cleanup),
	ENTRY(multi_add_handle, curl_multi_add_handle),
	ENTRY(multi_remove_handle, curl_multi_remove_handle),
	ENTRY(multi_perform, curl_multi_perform),
	ENTRY(multi_poll, curl_multi_poll),
	ENTRY(multi_wakeup, curl_multi_wakeup),
	ENTRY(multi_info_read, curl_multi_info_read),
	ENTRY(getdate, curl_getdate),
	ENTRY(url, curl_url),
	ENTRY(url_cleanup, curl_url_cleanup),
	ENTRY(url_set, curl_url_set),
	ENTRY(url_get, curl_url_get),
	ENTRY(url_strerror, curl_url_strerror),
	ENTRY(free, curl_free),
};

/* One library in a process, so one table: it lives as long as the program. */
static struct curl_api api;
static bool loaded;

const struct curl_api *curl_load(struct why *why)
{
	void *library;

	if (loaded)
		return &api;
	library = dlopen(CURL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
	if (!library) {
		why_set(why, 0, "cannot load libcurl: %s; install the package libcurl4", dlerror());
		return NULL;
	}
	for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++) {
		void *symbol = dlsym(library, entries[i].symbol);

		if (!symbol) {
			why_set(why, 0, CURL_LIBRARY " has no %s: version 7.80 or later is needed", entries[i].symbol);
			goto out_close;
		}
		memcpy((char *)&api + entries[i].offset, &symbol, sizeof(symbol));
	}
	if (api.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
		why_set(why, 0, "libcurl does not start");
		goto out_close;
	}
	loaded = true;
	return &api;

out_close:
	dlclose(library);
	return NULL;
}
