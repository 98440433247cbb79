# limpid-profile 1
# build-id aa
# weight 1000 generation 65535
f.a:18446744073709551615:9
 1: 18446744073709551615 g:1
 1: 7
 1: f:9
  2: 3
