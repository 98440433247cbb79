# SPDX-License-Identifier: LGPL-2.1-or-later
# A web server, for functional tests and those that boot.
# shellcheck shell=bash disable=SC2154 # bats sets BATS_*

# free_port: one of loopback that nobody listens on
free_port()
{
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# serve DIR [SETTING…]: a real web server (nginx) on loopback, with these lines in its configuration; its address in $URL, its access log in
# $ACCESS. A second one is in the place of the first.
serve()
{
	local dir=$BATS_TEST_TMPDIR/nginx port=${URL##*:}
	mkdir -p "$dir"
	[ -z "${NGINX_PID:-}" ] && port=$(free_port)
	ACCESS=$dir/access.log
	cat >"$dir/nginx.conf" <<-END
		worker_processes 1;
		pid $dir/pid;
		error_log $dir/error.log;
		events { worker_connections 256; }
		http {
			default_type application/octet-stream;
			log_format short '\$request_method \$uri \$status \$body_bytes_sent \$bytes_sent \$connection \$http_range \$server_protocol';
			access_log $ACCESS short;
			client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fcgi;
			uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi;
			server { listen 127.0.0.1:$port; root $1; ${*:2} }
		}
	END
	chmod 755 "$BATS_TEST_TMPDIR" "$dir"
	nginx -c "$dir/nginx.conf" -p "$dir" -g 'user root;' 3>&- || return
	URL=http://127.0.0.1:$port
	NGINX_PID=$dir/pid
	export URL
}

serve_stop()
{
	[ -s "${NGINX_PID:-}" ] || return 0
	kill "$(cat "$NGINX_PID")"
	# nginx removes it when it ends
	while [ -e "$NGINX_PID" ]; do
		sleep 0.02
	done
}
