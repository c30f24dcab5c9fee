# The book and its checks: docker build -t dln . && docker run --rm dln
# Another command, such as `docker run --rm -v "$PWD/out:/book/_build" dln make book`, leaves the site in ./out/html.
FROM python:3.12-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends make git chromium \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /book
COPY . .
RUN make env
CMD [".ci/run"]
