/* libcurl, loaded when it is first needed and not at start: linked in, it and the dozen libraries behind it cost an
 * agent that exports nothing by OTLP 7 MiB of resident memory (measured with 7.88 on Debian 12), more than all the rest.
 * The member names are the functions of <curl/curl.h> without their prefix. */
#ifndef WEIR_EXPORT_CURL_H
#define WEIR_EXPORT_CURL_H

#include <curl/curl.h>

struct why;

struct curl_api {
	CURLcode (*global_init)(long flags);
	CURL *(*easy_init)(void);
	void (*easy_cleanup)(CURL *easy);
	void (*easy_reset)(CURL *easy);
	CURLcode (*easy_setopt)(CURL *easy, CURLoption option, ...);
	CURLcode (*easy_getinfo)(CURL *easy, CURLINFO info, ...);
	CURLcode (*easy_perform)(CURL *easy);
	const char *(*easy_strerror)(CURLcode code);
	struct curl_slist *(*slist_append)(struct curl_slist *list, const char *text);
	void (*slist_free_all)(struct curl_slist *list);
	CURLM *(*multi_init)(void);
	CURLMcode (*multi_cleanup)(CURLM *multi);
	CURLMcode (*multi_add_handle)(CURLM *multi, CURL *easy);
	CURLMcode (*multi_remove_handle)(CURLM *multi, CURL *easy);
	CURLMcode (*multi_perform)(CURLM *multi, int *running);
	CURLMcode (*multi_poll)(CURLM *multi, struct curl_waitfd *extra, unsigned extra_count, int timeout_ms,
				int *ready);
	CURLMcode (*multi_wakeup)(CURLM *multi);
	CURLMsg *(*multi_info_read)(CURLM *multi, int *left);
	time_t (*getdate)(const char *text, const time_t *unused);
	CURLU *(*url)(void);
	void (*url_cleanup)(CURLU *url);
	CURLUcode (*url_set)(CURLU *url, CURLUPart part, const char *text, unsigned flags);
	CURLUcode (*url_get)(const CURLU *url, CURLUPart part, char **ret_text, unsigned flags);
	const char *(*url_strerror)(CURLUcode code);
	void (*free)(void *mem);
};

/* The same table each time, initialised and never unloaded; NULL with the reason when the library is not there.
 * The first call must come before other threads use it (the first call of the loop's thread does). */
const struct curl_api *curl_load(struct why *why);

#endif
